package chatcompletion

import (
	"bytes"
	"encoding/json"
	"math/bits"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// bodySeeds are bodies that each take a different path through the parser.
var bodySeeds = []string{
	`{}`,
	`{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`,
	" {\n \"messages\" : [ ] ,\t\"temperature\":1e0 , \"x\" : { \"y\" : null } }\r\n",
	`{"mod\u0065l":"a","model":"b","Model":"c","model\u0000":"d"}`,
	`{"a":"\\","b":"\\\"","c":"\"","d":"\\\\\"","":{}}`,
	`{"a":[1,-2.5E-3,true,false,null,"s",{"b":[]}],"b":1}`,
	`{"\ud83d\ude00":"\ud800","é":"ü"}`,
	`{"a":1,}`, `{,}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":01}`, `{a:1}`, `[{"a":1}]`, `{"a":1}{"b":2}`, `{"a":1}}`, `{"a`, `{"a":"\x"}`, `"a"`, ``,
	`{"a":1}` + "\x00", "\xef\xbb\xbf{}", `{"a":tru}`, `{"a":[}`, `{"a":{]}`, `{"a":1,"a":2}`, `{"…":1}`,
	`{"a":"x" \"b":1}`, `{"a":\"}`, `{\\"a":1}`,
	"{\"a\x7f\":\"\x7f\",\"\x7f\":{\"\x7f\":[\"x\x7f\\n\",\"\x7f\x7f\"]},\"b\":1}", "{\"a\":\"\\\x7f\"}", "{\"a\":\"\\u00\x7f1\"}", "{\"a\":\x7f}",
	"{\"\x7f\":1,\"\xff\":2,\"\ufffd\":3,\"content\":\"\x7f\"}", "{\"a\xc3\x7f\":1,\"b\":\"\xf0\x9f\x7f\"}",
}

// paddings are long members, inserted before others so that the skeleton elides them.
var paddings = []struct{ name, value string }{
	{`"pad"`, `"` + strings.Repeat("p", 5000) + `"`},
	{`"pad"`, `"` + strings.Repeat("p", 5000) + `\\"`},
	{`"pad"`, `"` + strings.Repeat("p", 5000) + `\\\""`},
	{`"pad"`, `"` + strings.Repeat(`\"`, 5000) + `"`},
	{`"pad"`, `"` + strings.Repeat(`\\`, 5000) + `"`},
	{`"pad"`, `["` + strings.Repeat("é", 2500) + `",{"x":"` + strings.Repeat(`,"model":`[:1], 2500) + `"}]`},
	{`"` + strings.Repeat("n", 3000) + `"`, `1`},
	{`"` + strings.Repeat("n", 3000) + `\\\""`, `{"` + strings.Repeat("m", 100) + `":2}`},
}

// pad inserts a long member before the first member of what may be an object.
func pad(body []byte, choice uint8) []byte {
	open := bytes.IndexByte(body, '{')
	if open < 0 {
		return body
	}
	p := paddings[int(choice)%len(paddings)]
	member := p.name + ":" + p.value
	if rest := bytes.TrimSpace(body[open+1:]); len(rest) > 0 && rest[0] != '}' {
		member += ","
	}
	return append(append(append([]byte{}, body[:open+1]...), member...), body[open+1:]...)
}

// hasLongStrings reports whether a possible string is long enough for the skeleton to elide it.
func hasLongStrings(body []byte) bool {
	for _, piece := range bytes.Split(body, quote) {
		if len(piece) > inlineMaxBytes {
			return true
		}
	}
	return false
}

// readEnvelope reads the members of a body.
func readEnvelope(body []byte) (*jsonObject, *apiError) {
	obj := newJSONObject(body)
	return obj, readMembers(obj)
}

// part is a member of an object as gjson reads it.
type part struct {
	name      string // "" if it is not UTF-8, and parsers may disagree
	nameStart int
	value     string
	start     int
}

func (p part) end() int { return p.start + len(p.value) }

func parts(body []byte) []part {
	var found []part
	at := bytes.IndexByte(body, '{') + 1
	gjson.ParseBytes(body).ForEach(func(name, value gjson.Result) bool {
		nameStart := at + bytes.IndexByte(body[at:], '"')
		colon := nameStart + len(name.Raw) + bytes.IndexByte(body[nameStart+len(name.Raw):], ':')
		start := colon + 1 + bytes.Index(body[colon+1:], []byte(value.Raw))
		p := part{name: name.String(), nameStart: nameStart, value: value.Raw, start: start}
		if strings.Contains(strings.ToLower(name.Raw), `\ud`) || strings.ToValidUTF8(name.Raw, "") != name.Raw {
			p.name = ""
		}
		found = append(found, p)
		at = p.end()
		return true
	})
	return found
}

func isDeep(body []byte) bool {
	return bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) > 5000
}

// FuzzJSONObjectMembers compares readMembers with the syntax check of encoding/json and the members that gjson reads.
func FuzzJSONObjectMembers(f *testing.F) {
	for i, body := range bodySeeds {
		f.Add([]byte(body), uint8(i))
	}
	f.Fuzz(func(t *testing.T, body []byte, padding uint8) {
		if isDeep(body) {
			return // encoding/json counts its depth limit from the member
		}
		compareMembers(t, body, hasLongStrings(body))
		compareMembers(t, pad(body, padding), hasLongStrings(body))
	})
}

// compareMembers checks readMembers. If lenient, long strings need not be valid inside.
func compareMembers(t *testing.T, body []byte, lenient bool) {
	obj, apiErr := readEnvelope(body)
	valid := json.Valid(body) && bytes.TrimLeft(body, " \t\r\n")[0] == '{'
	if apiErr != nil {
		if valid {
			t.Fatalf("error %q, want none; body: %.300q", apiErr.message, body)
		}
		return
	}
	if !valid {
		if lenient {
			return
		}
		t.Fatalf("no error, want one for a body that is not a JSON object: %.300q", body)
	}
	want := parts(body)
	if len(obj.members) != len(want) {
		t.Fatalf("%d members, gjson reads %d; body: %.300q", len(obj.members), len(want), body)
	}
	for i := range obj.members {
		m := &obj.members[i]
		name := m.name
		if readName(obj, i) == nil {
			name = m.name
		}
		if want[i].name != "" && name != want[i].name {
			t.Errorf("member %d is %q, gjson reads %q; body: %.300q", i, name, want[i].name, body)
		}
		if value := string(bodyValue(obj, m)); value != want[i].value {
			t.Errorf("value of member %d is %.300q, gjson reads %.300q; body: %.300q", i, value, want[i].value, body)
		}
		if start := bodyOffset(obj, nameStart(obj, i)); start != want[i].nameStart {
			t.Errorf("name of member %d begins at byte %d, for gjson at %d; body: %.300q", i, start, want[i].nameStart, body)
		}
	}
}

var editableName = regexp.MustCompile(`^[a-zA-Z_]+$`)

// FuzzSpliceAsSjson makes the same edit with splice and with sjson, and checks that no other byte changes. For each member,
// two bits of marks select whether it stays (0, 3), is replaced (1) or is removed (2).
func FuzzSpliceAsSjson(f *testing.F) {
	for i, body := range bodySeeds {
		f.Add([]byte(body), uint64(0x1b1b1b1b1b1b1b1b)<<i, uint8(i%3), i%2 == 0, uint8(i))
	}
	f.Add([]byte(`{"a":1,"b":2,"c":3,"d":4}`), uint64(0b10), uint8(0), false, uint8(0))
	f.Add([]byte(`{"a":1,"b":2,"c":3,"d":4}`), uint64(0b101010), uint8(1), true, uint8(1))
	f.Add([]byte(`{"a":1 , "b":2 , "c":3 , "d":4 }`), uint64(0b10100010), uint8(2), true, uint8(2))
	f.Add([]byte(`{"a":1,"b":2,"c":3,"d":4}`), uint64(0b01100110), uint8(2), false, uint8(3))
	f.Fuzz(func(t *testing.T, body []byte, marks uint64, additions uint8, padded bool, padding uint8) {
		if isDeep(body) || len(body) > 1<<16 {
			return
		}
		if padded {
			body = pad(body, padding)
			marks = bits.RotateLeft64(marks, int(padding))
		}
		compareSplice(t, body, marks, int(additions%3))
	})
}

func compareSplice(t *testing.T, body []byte, marks uint64, additions int) {
	if !json.Valid(body) {
		return
	}
	obj, apiErr := readEnvelope(body)
	if apiErr != nil || len(obj.members) == 0 {
		return
	}
	all := parts(body)
	times := map[string]int{}
	for _, p := range all {
		times[p.name]++
	}

	const replacement = `{"replaced":[true,"é"]}`
	edited := append([]byte{}, body...) // by sjson
	var want []byte                     // by hand: every byte
	kept := 0
	want = append(want, body[:all[0].nameStart]...)
	for i, p := range all {
		edit := marks >> (2 * (i % 32)) & 3
		if !editableName.MatchString(p.name) || times[p.name] > 1 {
			edit = 0
		}
		if edit == 2 {
			obj.members[i].removed = true
			edited = must(sjson.DeleteBytes(edited, p.name))
			continue
		}
		if kept > 0 {
			want = append(want, body[all[i-1].end():p.nameStart]...)
		}
		kept++
		want = append(want, body[p.nameStart:p.start]...)
		if edit == 1 {
			obj.members[i].replacement = []byte(replacement)
			edited = must(sjson.SetRawBytes(edited, p.name, []byte(replacement)))
			want = append(want, replacement...)
			continue
		}
		want = append(want, p.value...)
	}
	if kept == 0 {
		return // splice requires that a member stays, as messages always does
	}
	var added []byte
	for _, name := range []string{"added_one", "added_two"}[:additions] {
		if times[name] > 0 {
			continue
		}
		added = append(added, `,"`+name+`":0.5`...)
		want = append(want, `,"`+name+`":0.5`...)
		edited = must(sjson.SetRawBytes(edited, name, []byte("0.5")))
	}
	want = append(want, body[all[len(all)-1].end():]...)

	got := bytes.Join(splice(obj, edits(obj, added)), nil)
	if !bytes.Equal(got, want) {
		t.Fatalf("splice:\n%.600q\nwant:\n%.600q\nbody:\n%.600q", got, want, body)
	}
	if !reflect.DeepEqual(decodeObject(t, got), decodeObject(t, edited)) {
		t.Fatalf("splice:\n%.600q\nsjson:\n%.600q\nbody:\n%.600q", got, edited, body)
	}
}

func must(edited []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return edited
}

func decodeObject(t *testing.T, text []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var members map[string]any
	if err := decoder.Decode(&members); err != nil {
		t.Fatalf("%v: %.600q", err, text)
	}
	return members
}

// expansions are what stands for some bytes of a fuzzed body, to make it large.
var expansions = strings.NewReplacer(
	"~", strings.Repeat(`a text with a \"quote\" and a line\n, `, 800),
	"^", strings.Repeat(`\"`, 20<<10),
	"@", strings.Repeat("base64", 5<<10),
	"#", strings.Repeat("10,", 10<<10),
	"%", strings.Repeat(`{"role":"user","content":"Hi"},`, 800),
	"$", strings.Repeat(" ", 20<<10),
	"*", strings.Repeat(`\\`, 10<<10),
	"!", strings.Repeat("\x7f", 10<<10),
)

// FuzzLargeObject compares the skeleton of a large body with that of a covered copy of it.
func FuzzLargeObject(f *testing.F) {
	for _, body := range append([]string{
		`{"model":"m","messages":[{"role":"user","content":"~~~"}]}`, `{"messages":[{"content":"^^^^","role":"user"},{"content":"^~^@"}],"model":"x"}`,
		`{"input":[####],"x":"~"}`, `{"messages":[%%%{"role":"user","content":"~^"},%%{"content":"a\"b~"}]}`, `{"x":"*~~~"}`, `{"x":"~~*","y":"^^^"}`,
		`{"x":"@@@@","y":"\n","z":"!~~~"}`, `$$$${"x":"~^~^"}$$`, `{"x":"~~~","y":^^^}`, `{"x":^^"~~~"}`, `{"~~~":"^^^","\"":1}`, `{"x":"^^^`, `^^^^`, `{"x":"\\^^^"}`, `{"x":"^^^\\"}`, `{"x":"^^^\"}`,
	}, bodySeeds...) {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		body := []byte(expansions.Replace(string(text)))
		if len(body) < splitMinBytes || len(body) > 20*splitMinBytes {
			return
		}
		got, want := newJSONObject(body), wholeJSONObject(body)
		if covered := coverEscapes(body); bytes.Count(covered, quote) > skeletonMaxEnds {
			want.partial = true
		} else {
			cutLongStrings(want, bytes.Split(covered, quote))
		}
		gotErr, wantErr := readMembers(got), readMembers(want)
		if !reflect.DeepEqual(gotErr, wantErr) {
			t.Fatalf("error %v, want %v", gotErr, wantErr)
		}
		if gotErr == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%.200q: skeleton %.300q, elided %v, partial %v; want %.300q, %v, %v", text, got.skeleton, got.elided, got.partial, want.skeleton, want.elided, want.partial)
		}
	})
}
