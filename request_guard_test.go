package chatcompletion

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestMaskedTurnsAreBounded fills the memory of turns in which rules have matched.
func TestMaskedTurnsAreBounded(t *testing.T) {
	m := &guardedTurns{recent: map[uint64]*guardedTurn{}}
	for hash := uint64(0); hash < 20_000; hash++ {
		storeGuarded(m, hash, &guardedTurn{edits: make([]guardEdit, maxTurnEdits)})
	}
	kept := 0
	for _, generation := range []map[uint64]*guardedTurn{m.recent, m.older} {
		for _, turn := range generation {
			kept += len(turn.edits) + 1
		}
	}
	if kept > 2*maxGenerationEdits || kept < maxGenerationEdits {
		t.Errorf("got %d edits, want %d to %d", kept, maxGenerationEdits, 2*maxGenerationEdits)
	}
	if lookupGuarded(m, 19_999) == nil || lookupGuarded(m, 0) != nil {
		t.Error("want the last turn, and not the first one")
	}
}

// TestMaskedTurnIsInspectedOnce verifies that what was masked in a turn is masked in the next one without
// another search.
func TestMaskedTurnIsInspectedOnce(t *testing.T) {
	config := CreateConfig()
	config.Guard.Request.Rules = []GuardRule{{Name: "cards", Builtin: builtinCreditCard, Action: actionMask}}
	p, err := newPolicy(config, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	ep := p.providers[0].endpoints[completions]
	elements := strings.Repeat(`{"role":"user","content":"Hi, 4111111111111111."},{"role":"assistant","content":"Hi"},`, 60)
	turn := func(more string) *plan {
		pl := &plan{decoded: []byte(`{"model":"x","messages":[` + elements + more + `]}`)}
		pl, apiErr := planGuardedBody(ep, httptest.NewRequest(http.MethodPost, "/", nil), pl)
		if apiErr != nil {
			t.Fatal(apiErr.message)
		}
		if strings.Contains(string(joinedBody(pl)), "4111") {
			t.Fatal("a card is not masked")
		}
		return pl
	}
	more := `{"role":"user","content":"a"}`
	for number := 1; number < 4; number++ {
		if got := turn(more).guarded; !reflect.DeepEqual(got, []string{"guard_mask=cards"}) {
			t.Errorf("turn %d: got %q, want that a card is masked", number, got)
		}
		if last := `{"model":"x","messages":[` + elements + more; findGuardedTurn(ep, []byte(last+`,{"role":"user"}]}`)) == nil {
			t.Errorf("turn %d is not remembered", number)
		}
		more += `,{"role":"user","content":"b"}`
	}
}

// TestHostileBodiesAreInspectedCheaply compares the time of bodies that cost much to inspect with that of a
// megabyte of digits. The slowest takes about seven times as long, and work that grows with the square of a
// body hundreds of times. A busy machine may delay one of the two, but not in each of several tries.
func TestHostileBodiesAreInspectedCheaply(t *testing.T) {
	const factor, tries = 30, 3
	handler, _ := guardedHandler(t, actionMask)
	inspect := func(text string) time.Duration {
		start := time.Now()
		sendGuarded(handler, "/v1/completions", fmt.Sprintf(`{"model":"x","prompt":["%s"]}`, text))
		return time.Since(start)
	}
	digits := strings.Repeat("4111 1111 1111 1112 ", 50_000)
	for name, text := range map[string]string{
		"one run":         strings.Repeat("4", 1_000_000),
		"escapes":         strings.Repeat(`\u0034`, 150_000) + " 4111 1111 1111 1111",
		"backslashes":     strings.Repeat(`\\`, 500_000) + " 4111 1111 1111 1111",
		"cards":           strings.Repeat("4111111111111111,", 60_000),
		"strings":         strings.Repeat(`","4111111111111111`, 30_000),
		"short strings":   strings.Repeat(`","a`, 30_000) + "4111111111111111",
		"beginnings":      strings.Repeat("sk-a eyJ.eyJ AKIA ghp_ xoxb- ", 30_000),
		"private keys":    strings.Repeat("-----BEGIN PRIVATE KEY-----", 30_000),
		"nested escapes":  strings.Repeat(`\\\\\\\\n`, 100_000),
		"surrogate pairs": strings.Repeat(`\ud83d\ude00`, 80_000) + " 4111 1111 1111 1111",
	} {
		usual, took := inspect(digits), inspect(text)
		for try := 1; try < tries && took > factor*usual; try++ {
			usual, took = inspect(digits), inspect(text)
		}
		if t.Logf("%s: %v, and %v for digits", name, took, usual); took > factor*usual {
			t.Errorf("%s: took %v, want at most %d times %v", name, took, factor, usual)
		}
	}
}
