// Package agent writes what coding agents send: conversations, in which each request is the one
// before and a turn more.
package agent

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
)

// Profile describes agents. No two of their sessions are alike, in texts, tools, ids, or the order of
// what happens.
type Profile struct {
	Turns, Tools int
	Responses    bool // they use the Responses API
	Messages     bool // they use Anthropic's Messages
	Contents     bool // they use Gemini's generateContent; without any of these, chat completions
}

// Model is the model that agents request.
const Model = "gpt-4o"

// Mean sizes of what an agent sends, in bytes.
const (
	systemBytes = 6800
	toolBytes   = 2 << 10
	turnBytes   = 1700
)

// Bounds of a tool, in bytes.
const (
	smallestTool = 1300
	largestTool  = 3000 // the last property may be a large one
)

// Size is the size of a request with all turns.
func (p Profile) Size() int { return systemBytes + p.Tools*toolBytes + p.Turns*turnBytes }

// Forms returns the number of forms in which these agents write their requests. Consecutive sessions
// have different ones.
func (p Profile) Forms() int { return len(p.forms()) }

func (p Profile) forms() []form {
	switch {
	case p.Responses:
		return responsesForms
	case p.Messages:
		return messagesForms
	case p.Contents:
		return contentsForms
	}
	return chatForms
}

// Array is the name of the array that holds the conversation.
func (p Profile) Array() string {
	switch {
	case p.Responses:
		return "input"
	case p.Contents:
		return "contents"
	}
	return "messages"
}

// Session is one conversation of an agent.
type Session struct {
	form
	elements []string // two before the first turn, and two for each turn
}

// Body returns the request after a number of turns.
func (s *Session) Body(turns int) []byte {
	elements := s.elements[:2+2*turns]
	length := len(s.head) + len(s.tail)
	for _, element := range elements {
		length += len(element) + len(s.separator)
	}
	body := append(make([]byte, 0, length), s.head...)
	for i, element := range elements {
		if block, isBlock := strings.CutSuffix(element, "}]}"); isBlock && i >= len(elements)-s.marks {
			element = block + cacheMark + "}]}"
		}
		if i > 0 {
			body = append(body, s.separator...)
		}
		body = append(body, element...)
	}
	return append(body, s.tail...)
}

// cacheMark marks a content block: Anthropic caches the prompt up to it.
const cacheMark = `,"cache_control":{"type":"ephemeral"}`

// Session returns the session with the number, always the same one.
func (p Profile) Session(number int64) *Session {
	forms := p.forms()
	s := &Session{form: forms[number%int64(len(forms))]}
	w := scribe{rand.New(rand.NewSource(number))}
	tools, names := w.tools(s.tool, p.Tools, s.separator)
	system, environment := w.prose(systemBytes), w.environment(number)
	frame := strings.NewReplacer("{model}", quoted(Model), "{tools}", tools, "{instructions}", quoted(system), "{key}", quoted(w.id("", 32)))
	s.head, s.tail = frame.Replace(s.head), frame.Replace(s.tail)
	if strings.Contains(s.head+s.tail, quoted(system)) {
		s.add(s.first, "{text}", quoted(environment))
	} else {
		s.add(s.first, "{text}", quoted(system+environment))
	}
	s.add(s.user, "{text}", quoted(w.prose(200+w.Intn(800))))
	for written, turn := 0, 1; turn <= p.Turns; turn++ {
		room := turn*turnBytes - written + w.Intn(turnBytes) - turnBytes/2
		written += s.turn(w, names, room)
	}
	return s
}

// turn adds a turn of about the size, and returns its size. In one turn in six the user replies, the
// others are calls of tools.
func (s *Session) turn(w scribe, names []string, size int) (written int) {
	item := quoted(w.id("item_", 40))
	if w.Intn(6) == 0 {
		written += s.add(s.text, "{item}", item, "{text}", quoted(w.prose(100+w.Intn(700))))
		reply := w.prose(20 + w.Intn(300))
		if room := size - written - len(reply); room > turnBytes/4 {
			reply += w.result(room) // pasted
		}
		return written + s.add(s.user, "{text}", quoted(reply))
	}
	id, name := quoted(w.id("call_", 24)), quoted(names[w.Intn(len(names))])
	remark := "null"
	if w.Intn(2) == 0 {
		remark = quoted(w.prose(20 + w.Intn(120)))
	}
	arguments := w.arguments()
	written += s.add(s.call, "{item}", item, "{id}", id, "{name}", name, "{text}", remark, "{arguments}", quoted(arguments), "{object}", arguments)
	return written + s.add(s.result, "{id}", id, "{name}", name, "{text}", quoted(w.result(size-written)))
}

// add adds an element, and returns its size.
func (s *Session) add(part string, values ...string) int {
	s.elements = append(s.elements, fill(part, values...))
	return len(s.elements[len(s.elements)-1])
}

// scribe writes what occurs in the session of an agent.
type scribe struct{ *rand.Rand }

func (w scribe) prose(size int) string { return Prose(w.Rand, size) }

func (w scribe) word() string { return Pick(w.Rand, 1)[0] }

// id returns an id with the number of letters and digits after the prefix.
func (w scribe) id(prefix string, length int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	id := []byte(prefix)
	for range length {
		id = append(id, letters[w.Intn(len(letters))])
	}
	return string(id)
}

func (w scribe) path() string {
	return fmt.Sprintf("/workspace/%s/%s_%s.go", w.word(), w.word(), w.word())
}

// environment is what an agent says about the machine that it works on.
func (w scribe) environment(number int64) string {
	return fmt.Sprintf("<environment_context>\n  <session>%s-%d</session>\n  <cwd>/workspace/%s</cwd>\n  <shell>bash</shell>\n  <date>2026-%02d-%02d</date>\n</environment_context>",
		w.id("", 16), number, w.word(), 1+w.Intn(12), 1+w.Intn(28))
}

// arguments returns those of a call: a JSON object.
func (w scribe) arguments() string {
	switch w.Intn(5) {
	case 0:
		return fmt.Sprintf(`{"file_path":%s,"offset":%d,"limit":%d}`, quoted(w.path()), w.Intn(4000), 50+w.Intn(2000))
	case 1:
		return fmt.Sprintf(`{"command":%s,"timeout":%d,"description":%s}`,
			quoted(fmt.Sprintf("cd /workspace && go test -run '%s|%s' ./%s/...", w.word(), w.word(), w.word())), 1000*w.Intn(120), quoted(w.prose(40)))
	case 2:
		return fmt.Sprintf(`{"pattern": %s, "include": "*.go", "case_sensitive": %t, "context": %d}`, quoted(w.word()+`\(.*"`+w.word()), w.Intn(2) == 0, w.Intn(9))
	case 3:
		return fmt.Sprintf(`{"file_path":%s,"old_string":%s,"new_string":%s}`, quoted(w.path()), quoted(w.source(100+w.Intn(300))), quoted(w.source(100+w.Intn(500))))
	default:
		return fmt.Sprintf(`{"query":%s,"filters":[{"field":%s,"op":"eq","value":%d}],"page":%d}`, quoted(w.prose(30)), quoted(w.word()), w.Intn(1e6), w.Intn(50))
	}
}

// result returns what a tool returned, of about the encoded size.
func (w scribe) result(size int) string {
	switch w.Intn(4) {
	case 0:
		return w.lines(size, func(int) string {
			return fmt.Sprintf("%s:%d:\t%s", w.path(), 1+w.Intn(3000), w.source(1))
		})
	case 1:
		return w.lines(size, func(int) string {
			return fmt.Sprintf("--- FAIL: Test_%s_%s (%d.%02ds)\n    got \"%s\", want \"%s\"\n", w.word(), w.word(), w.Intn(9), w.Intn(100), w.word(), w.word())
		})
	case 2:
		return "[" + strings.TrimSuffix(w.lines(size, func(n int) string {
			return fmt.Sprintf(`{"id":%d,"path":%s,"size":%d,"score":%.4f,"tags":[%q,%q],"open":%t,"owner":null},`,
				n, quoted(w.path()), w.Intn(1e6), w.Float64(), w.word(), w.word(), w.Intn(2) == 0)
		}), ",") + "]"
	default:
		return w.source(size)
	}
}

// source returns numbered lines of code of about the encoded size.
func (w scribe) source(size int) string {
	from := w.Intn(2000)
	return w.lines(size, func(n int) string {
		names := Pick(w.Rand, 4)
		return fmt.Sprintf("%6d\tif %s[\"%s\"] == \"%s\" && %s < %d {\n", from+n, names[0], names[1], names[2], names[3], w.Intn(1e4))
	})
}

// lines returns at least one line, and more while they do not exceed the encoded size.
func (w scribe) lines(size int, line func(n int) string) string {
	var text strings.Builder
	for n, encoded := 0, 0; n == 0 || encoded < size; n++ {
		next := line(n)
		encoded += len(next) + strings.Count(next, "\"") + strings.Count(next, "\n") + strings.Count(next, "\t")
		text.WriteString(next)
	}
	return text.String()
}

// tools returns the elements of the array of tools, and their names.
func (w scribe) tools(form string, count int, separator string) (elements string, names []string) {
	var encoded []string
	written := 0
	for i := range count {
		name := fmt.Sprintf("%s_%s_%d", w.word(), w.word(), i)
		room := (i+1)*toolBytes - written + w.Intn(toolBytes) - toolBytes/2
		description := w.prose(150 + w.Intn(600))
		schema := w.schema(min(max(room, smallestTool), largestTool) - len(description))
		tool := fill(form, "{name}", quoted(name), "{text}", quoted(description), "{schema}", schema)
		written += len(tool)
		encoded, names = append(encoded, tool), append(names, name)
	}
	return strings.Join(encoded, separator), names
}

// schema returns the JSON schema of a tool's arguments, of about the size.
func (w scribe) schema(size int) string {
	properties, names := w.properties(func(written int) bool { return written < size-300 }, true)
	return fmt.Sprintf(`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":%s,"required":[%s],"additionalProperties":false}`,
		properties, strings.Join(names[:1+w.Intn(len(names))], ","))
}

// properties returns an object of properties while more are wanted, and their quoted names.
func (w scribe) properties(more func(written int) bool, nested bool) (object string, names []string) {
	var members []string
	for written := 0; more(written); {
		name := quoted(w.word() + "_" + w.word())
		if slices.Contains(names, name) {
			continue
		}
		members, names = append(members, name+":"+w.property(nested)), append(names, name)
		written += len(members[len(members)-1]) + 1
	}
	return "{" + strings.Join(members, ",") + "}", names
}

// property returns the schema of one property.
func (w scribe) property(nested bool) string {
	kinds := 4
	if nested {
		kinds = 7
	}
	description := quoted(w.prose(40 + w.Intn(150)))
	switch w.Intn(kinds) {
	case 0:
		return fmt.Sprintf(`{"type":"integer","description":%s,"minimum":0,"maximum":%d,"default":%d}`, description, 100+w.Intn(1e4), w.Intn(100))
	case 1:
		return fmt.Sprintf(`{"type":"string","enum":[%q,%q,%q],"description":%s}`, w.word(), w.word(), w.word(), description)
	case 2:
		return fmt.Sprintf(`{"type":"boolean","description":%s}`, description)
	case 4:
		return fmt.Sprintf(`{"type":"array","items":{"type":"string"},"minItems":1,"description":%s}`, description)
	case 5, 6:
		count := 2 + w.Intn(3)
		properties, names := w.properties(func(int) bool { count--; return count >= 0 }, false)
		object := fmt.Sprintf(`{"type":"object","properties":%s,"required":[%s]}`, properties, names[0])
		if w.Intn(2) == 0 {
			return object
		}
		return fmt.Sprintf(`{"type":"array","description":%s,"items":%s}`, description, object)
	default:
		return fmt.Sprintf(`{"type":"string","description":%s}`, description)
	}
}
