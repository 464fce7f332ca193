package chatcompletion

import (
	"math/rand"
	"regexp"
	"strings"
	"testing"
)

// An open pattern finds the first place where a match is, or may begin that ends in what follows.
func TestOpenPatternFindsWhereMatchesMayBegin(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          int // below 0: a match that is complete
	}{
		{`abc`, "xab", 1},
		{`abc`, "xabd", 4},
		{`abc`, "xabcd", -1},
		{`abc`, "xabc", 1},
		{`\bkey\b`, "a key", 2},
		{`\bkey\b`, "a keys", 6},
		{`\bkey\b`, "monkey", 6},
		{`\bkey\b`, "monk", 4},
		{`\bkey\b`, "a ke", 2},
		{`\bkey\b|e-`, "ke", 0},
		{`\bkey\b|e-`, "monke", 4},
		{`\bk-a|\ba-x`, "ok-a", 3},
		{`(?i)Aurora`, "no AUR", 3},
		{`a{3,5}b`, "xaaaa", 1},
		{`a{3,5}b`, "aaaaaaa", 2},
		{`[0-9]{4}(?:[ -]?[0-9]){9,}`, "on 4111 1111", 3},
		{`(?:ab)+c`, "xababa", 1},
		{`^line$`, "a\nlin", 2},
		{`^line$`, "a\nline", 2},
		{`^line$`, "outline", 7},
		{`(a|b)c|dd`, "xxb", 2},
		{`x.*y`, "a x b\nc", 7},
		{`(?s)x.*y`, "a x b\nc", 2},
		{`é+ü`, "caféé", 3},
	} {
		p, err := newStreamPatterns([]*guardRule{{pattern: regexp.MustCompile("(?m:" + c.pattern + ")")}})
		if err != nil {
			t.Fatal(err)
		}
		got := plainEnd(p, "", c.text)
		if got != c.want {
			t.Errorf("%s in %q: got %d, want %d", c.pattern, c.text, got, c.want)
		}
	}
}

// Random expressions: brute force appends all short texts, and looks where matches begin that need them.
func TestOpenPatternIsAsBruteForceFinds(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	endings := textsOver("ab \n", 4)
	for tries := 0; tries < 400; tries++ {
		pattern := "(?m:" + randomPattern(random, 3) + ")"
		exact, err := regexp.Compile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		open, err := newStreamPatterns([]*guardRule{{pattern: exact}})
		if err != nil {
			t.Fatal(pattern, err)
		}
		text := randomText(random, "ab \n", random.Intn(6))
		compareOpenPlace(t, exact, open, text, endings)
	}
}

func FuzzOpenPattern(f *testing.F) {
	f.Add(`\bab+\b`, "xab")
	f.Add(`(?:a|bb){2,3}$`, "abb")
	endings := textsOver("ab ", 3)
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 30 || len(text) > 10 {
			return
		}
		exact, err := regexp.Compile("(?m:" + pattern + ")")
		if err != nil || exact.MatchString("") || strings.Contains(pattern, `\A`) || strings.Contains(pattern, `\z`) || strings.Contains(pattern, `(?`) {
			return
		}
		open, err := newStreamPatterns([]*guardRule{{pattern: exact}})
		if err != nil {
			return
		}
		compareOpenPlace(t, exact, open, text, endings)
	})
}

// compareOpenPlace verifies that no match that an ending completes begins before the open place.
func compareOpenPlace(t *testing.T, exact *regexp.Regexp, p *streamPatterns, text string, endings []string) {
	t.Helper()
	place := plainEnd(p, "", text)
	if place < 0 && !exact.MatchString(text) {
		t.Fatalf("%s: %q has a match", exact, text)
	}
	for _, ending := range endings {
		for _, match := range exact.FindAllStringIndex(text+ending, -1) {
			if match[0] < place && match[1] > match[0] {
				t.Fatalf("%s: %q may begin a match at %d with %q, the open place is %d", exact, text, match[0], ending, place)
			}
		}
	}
}

// textsOver returns all texts of at most length characters of an alphabet.
func textsOver(alphabet string, length int) []string {
	texts := []string{""}
	for first := 0; length > 0; length-- {
		last := len(texts)
		for _, text := range texts[first:last] {
			for _, char := range alphabet {
				texts = append(texts, text+string(char))
			}
		}
		first = last
	}
	return texts
}

func randomText(random *rand.Rand, alphabet string, length int) string {
	text := ""
	for i := 0; i < length; i++ {
		text += string(alphabet[random.Intn(len(alphabet))])
	}
	return text
}

func randomPattern(random *rand.Rand, depth int) string {
	if depth == 0 {
		return []string{"a", "b", "ab", "[ab]", ".", " ", `\b`, `\B`, "^", "$", "aab", "(?i)A", `\n`}[random.Intn(13)]
	}
	one, other := randomPattern(random, depth-1), randomPattern(random, depth-1)
	switch random.Intn(8) {
	case 0:
		return "(?:" + one + "|" + other + ")"
	case 1:
		return "(?:" + one + ")*" + other
	case 2:
		return "(?:" + one + ")+" + other
	case 3:
		return "(" + one + ")?" + other
	case 4:
		return "(?:" + one + "){2,3}" + other
	case 5:
		return "(?:" + one + "){1,}?" + other
	}
	return one + other
}
