package chatcompletion

import (
	"bytes"
	"sort"
	"strings"
)

// insertMessages inserts prompts into the messages of chat completions: those before the client's as the
// first messages, and the others after the leading system messages of the client.
func insertMessages(pd *promptDraft) {
	e, before, after := pd.elements, pd.inserted.before, pd.inserted.after
	isEmpty := e.isAll && e.runs != nil
	if e.runs != nil || e.leading == 0 { // no system message of the client stays at the beginning
		before = allPrompts(pd.inserted)
		after = nil
	}
	first, last := joinedPrompts(before, promptElement), joinedPrompts(after, promptElement)
	if len(first) > 0 {
		if !isEmpty {
			first = append(first, ',')
		}
		addEdit(pd, e.start, e.start, first, nil)
	}
	for _, run := range e.runs {
		addEdit(pd, run.from, run.to, nil, nil)
	}
	switch {
	case len(last) == 0:
	case e.isAll:
		addEdit(pd, e.leadingEnd, e.leadingEnd, append([]byte{','}, last...), nil)
	default:
		addEdit(pd, e.afterLeading, e.afterLeading, append(last, ','), nil)
	}
}

// joinedPrompts returns objects with prompts, separated by commas. Each begins as given, up to its text.
func joinedPrompts(texts []string, beginning string) []byte {
	var all [][]byte
	for _, text := range texts {
		all = append(all, append(append([]byte(beginning), marshal(text)...), '}'))
	}
	return bytes.Join(all, comma)
}

// Beginnings of the objects that hold a prompt. All providers know the role system, and OpenAI treats it as
// developer where a model has that one.
const (
	promptElement = `{"role":"system","content":`
	promptBlock   = `{"type":"text","text":`
	promptPart    = `{"text":`
)

// insertPrompt inserts prompts into the parameter that holds the system prompt, or adds that.
func insertPrompt(sp *systemPrompt, obj *jsonObject, draft *decisionDraft, own, parts *member, replaces bool) {
	pd := draft.prompt
	given := obj.found[sp.parameters.ids[sp.place.name]]
	if given == 0 {
		addPrompt(sp, obj, draft)
		return
	}
	m := &obj.members[given-1] // own, or it holds no system prompt
	switch {
	case parts != nil && !replaces:
		insertParts(pd, m.start, parts, skeletonValue(obj, m))
	case own == nil && sp.place.form == promptParts && obj.skeleton[m.start] == '{' && !replaces:
		addPromptParts(pd, obj, m)
	case own == nil || replaces:
		addEdit(pd, m.start, m.end, promptValue(sp.place.form, pd.inserted), jsonNull)
	case obj.skeleton[own.start] == '"':
		insertAround(pd, own.start+1, own.end-1, escaped(pd.inserted.before, "", blankText), escaped(pd.inserted.after, blankText, ""))
	default:
		insertElements(pd, own.start, own.end, promptBlock)
	}
}

// blankText separates two prompts in one text.
const blankText = "\n\n"

// escaped returns prompts as a part of a JSON string, with a text before and after them.
func escaped(texts []string, before, after string) []byte {
	if len(texts) == 0 {
		return nil
	}
	value := marshal(before + strings.Join(texts, blankText) + after)
	return value[1 : len(value)-1]
}

// insertAround inserts values at two places of a body.
func insertAround(pd *promptDraft, from, to int, before, after []byte) {
	if len(before) > 0 {
		addEdit(pd, from, from, before, nil)
	}
	if len(after) > 0 {
		addEdit(pd, to, to, after, nil)
	}
}

// insertElements inserts objects with prompts into an array that is not empty.
func insertElements(pd *promptDraft, from, to int, beginning string) {
	before, after := aroundElements(pd.inserted, beginning)
	insertAround(pd, from+1, to-1, before, after)
}

// aroundElements returns what is inserted before and after elements, commas included.
func aroundElements(inserted *insertedPrompts, beginning string) ([]byte, []byte) {
	before, after := joinedPrompts(inserted.before, beginning), joinedPrompts(inserted.after, beginning)
	if len(before) > 0 {
		before = append(before, ',')
	}
	if len(after) > 0 {
		after = append([]byte{','}, after...)
	}
	return before, after
}

// insertParts inserts prompts into the parts of a content that begins at an offset. There may be one
// part in the place of an array.
func insertParts(pd *promptDraft, at int, parts *member, content []byte) {
	from, to := at+parts.start, at+parts.end
	value := content[parts.start:parts.end]
	switch {
	case value[0] == 'n':
		addEdit(pd, from, to, partsValue(pd.inserted), jsonNull)
	case value[0] == '{':
		before, after := aroundElements(pd.inserted, promptPart)
		insertAround(pd, from, to, append([]byte{'['}, before...), append(after, ']'))
	case isEmptyArray(value):
		addEdit(pd, from+1, from+1, joinedPrompts(allPrompts(pd.inserted), promptPart), nil)
	default:
		insertElements(pd, from, to, promptPart)
	}
}

// addPromptParts adds parts with prompts to a content without parts.
func addPromptParts(pd *promptDraft, obj *jsonObject, content *member) {
	parts := append([]byte(`"parts":`), partsValue(pd.inserted)...)
	if len(bytes.Trim(obj.skeleton[content.start+1:content.end-1], jsonSpace)) > 0 {
		parts = append(parts, ',')
	}
	addEdit(pd, content.start+1, content.start+1, parts, nil)
}

// allPrompts returns inserted prompts in their order.
func allPrompts(inserted *insertedPrompts) []string {
	return append(append([]string{}, inserted.before...), inserted.after...)
}

// partsValue returns an array of parts with prompts.
func partsValue(inserted *insertedPrompts) []byte {
	return jsonArray([][]byte{joinedPrompts(allPrompts(inserted), promptPart)})
}

// promptValue returns the value of the parameter that holds the system prompt, with prompts alone.
func promptValue(form promptForm, inserted *insertedPrompts) []byte {
	if form == promptParts {
		return bytes.Join([][]byte{[]byte(`{"parts":`), partsValue(inserted), []byte(`}`)}, nil)
	}
	return marshal(strings.Join(allPrompts(inserted), blankText))
}

// addPrompt adds the parameter that holds the system prompt after the last member, and after what the
// rules add there.
func addPrompt(sp *systemPrompt, obj *jsonObject, draft *decisionDraft) {
	pd := draft.prompt
	value := append([]byte(`,"`+sp.place.name+`":`), promptValue(sp.place.form, pd.inserted)...)
	if sp.wrapsCount && len(obj.members) == 1 && len(draft.additions) == 0 && draft.model != "" {
		at := obj.members[0].end
		model := append([]byte(`"generateContentRequest":{"model":`), marshal(resourceName(draft.model))...)
		start := nameStart(obj, 0)
		addEdit(pd, start, start, append(model, ','), nil)
		addEdit(pd, at, at, append(value, '}'), nil)
		return
	}
	at := bytes.LastIndexByte(obj.skeleton, '}')
	if removesAll(obj) && len(draft.additions) == 0 {
		value = value[1:]
	} else if !removesAll(obj) {
		at = obj.members[len(obj.members)-1].end
	}
	addEdit(pd, at, at, value, nil)
}

// addEdit adds an edit of a body, and the value that it has without the inserted prompts.
func addEdit(draft *promptDraft, from, to int, value, bare []byte) {
	draft.edits = append(draft.edits, edit{from: from, to: to, value: value, bare: bare})
}

// sortEdits sorts edits in the order of the body. Those at one place keep their order.
func sortEdits(list []edit) {
	sort.SliceStable(list, func(i, j int) bool { return list[i].from < list[j].from })
}
