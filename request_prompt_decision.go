package chatcompletion

import (
	"bytes"
	"strings"
)

// promptDraft is what is decided about the system prompt of a request.
type promptDraft struct {
	edits    []edit           // with the values that they have without the inserted prompts
	inserted *insertedPrompts // nil: none
	elements *systemElements

	counted   []byte // a whole request whose tokens are counted, without the inserted prompts; nil: there is none
	countedAt int    // where it begins
}

// decidePrompt decides on the system prompt of a request: it refuses that of the client, or inserts
// those of the policy and of the instances before. The edits are in the draft.
func decidePrompt(ep *endpoint, obj *jsonObject, draft *decisionDraft) *apiError {
	sp := ep.prompt
	if ep.kind == countContents {
		if isWhole, apiErr := decideCountedPrompt(sp, obj, draft); isWhole || apiErr != nil {
			return apiErr
		}
	}
	return decidePromptIn(sp, obj, draft)
}

// decidePromptIn is decidePrompt for an object that holds a conversation.
func decidePromptIn(sp *systemPrompt, obj *jsonObject, draft *decisionDraft) *apiError {
	mode, forbids := "", false
	if sp.settings != nil {
		mode = sp.settings.mode
		forbids = sp.settings.forbids
	}
	own, parts, apiErr := clientPrompt(sp, obj)
	if apiErr != nil {
		return apiErr
	}
	elements, apiErr := conversationPrompts(sp, obj, mode, forbids)
	if apiErr != nil {
		return apiErr
	}
	if forbids || mode == promptReplace {
		if apiErr = checkPromptAllowed(sp, obj, own, elements, forbids); apiErr != nil {
			return apiErr
		}
	}
	pd := &promptDraft{inserted: sp.with, elements: elements}
	draft.prompt = pd
	if mode == promptIfAbsent && (own != nil || elements.leading > 0) {
		pd.inserted = sp.prior
	}
	replaces := mode == promptReplace && (own != nil || elements.runs != nil)
	if sp.own != nil && pd.inserted != sp.prior {
		reason := promptInserted
		if replaces {
			reason = promptReplaced
		}
		draft.reasons = append(draft.reasons, reason)
	}
	if pd.inserted == nil {
		return nil
	}
	if sp.place.form == promptMessage {
		insertMessages(pd)
		return nil
	}
	insertPrompt(sp, obj, draft, own, parts, replaces)
	for _, run := range elements.runs {
		addEdit(pd, run.from, run.to, nil, nil)
	}
	return nil
}

// Elements of X-Ai-Policy.
const (
	promptInserted = "system=inserted"
	promptReplaced = "system=replaced"
)

// promptMember returns the member for a parameter that is not null; nil: there is none.
func promptMember(sp *systemPrompt, obj *jsonObject, name string) *member {
	if name == "" {
		return nil
	}
	id, known := sp.parameters.ids[name]
	if !known || obj.found[id] == 0 {
		return nil
	}
	m := &obj.members[obj.found[id]-1]
	if obj.skeleton[m.start] == 'n' {
		return nil
	}
	return m
}

// clientPrompt returns the member that holds the client's system prompt, and the parts in it; nil: there
// is none. Texts count even if they are empty, arrays do not.
func clientPrompt(sp *systemPrompt, obj *jsonObject) (own, parts *member, apiErr *apiError) {
	own = promptMember(sp, obj, sp.place.name)
	parts = nil
	apiErr = nil
	if own == nil {
		return own, parts, apiErr
	}
	value := skeletonValue(obj, own)
	switch sp.place.form {
	case promptBlocks:
		if isEmptyArray(value) {
			own = nil
		} else if value[0] != '"' && value[0] != '[' {
			apiErr = wrongType(own.name, "a string or an array of content blocks", value)
		}
	case promptParts:
		parts, apiErr = partsOf(own, value)
		if apiErr == nil && (parts == nil || value[parts.start] == 'n' || isEmptyArray(value[parts.start:parts.end])) {
			own = nil
		}
	}
	return own, parts, apiErr
}

func isEmptyArray(value []byte) bool {
	return value[0] == '[' && len(bytes.Trim(value[1:len(value)-1], jsonSpace)) == 0
}

// partsOf returns the member with the parts of a content, whose offsets are those in the content; nil:
// it has none.
func partsOf(holder *member, content []byte) (*member, *apiError) {
	inner := wholeJSONObject(content)
	if apiErr := readMembers(inner); apiErr != nil {
		return nil, wrongType(holder.name, "an object", content)
	}
	var found *member
	for i := range inner.members {
		m := &inner.members[i]
		if fold(m.name) != "parts" {
			continue
		}
		if m.name != "parts" { // some parsers take it for the name
			return nil, ambiguousName(holder.name+"."+m.name, holder.name+".parts")
		}
		if found != nil {
			return nil, ambiguousName(holder.name+".parts", holder.name+".parts")
		}
		found = m
	}
	if found != nil && strings.IndexByte("[{n", content[found.start]) < 0 {
		return nil, wrongType(holder.name+".parts", "an array", content[found.start:found.end])
	}
	return found, nil
}

// checkPromptAllowed returns the error for a system prompt of the client that is forbidden, or cannot be
// replaced.
func checkPromptAllowed(sp *systemPrompt, obj *jsonObject, own *member, elements *systemElements, forbids bool) *apiError {
	if stored := promptMember(sp, obj, sp.place.stored); stored != nil {
		return systemNotAllowed(stored.name)
	}
	if elements.only != "" || (forbids && elements.first != "") {
		return systemNotAllowed(elements.first)
	}
	if forbids && own != nil {
		return systemNotAllowed(own.name)
	}
	return nil
}

func systemNotAllowed(param string) *apiError {
	return invalidRequest("system_not_allowed", param, "Clients may not set the system prompt here. Remove '"+param+"'.")
}

// decideCountedPrompt decides on the system prompt of a whole request whose tokens are counted, and
// reports whether there is one.
func decideCountedPrompt(sp *systemPrompt, obj *jsonObject, draft *decisionDraft) (bool, *apiError) {
	m := promptMember(sp, obj, nestedModels[countContents])
	if m == nil {
		return false, nil
	}
	value := m.replacement
	if value == nil {
		value = bodyValue(obj, m)
	}
	if value[0] != '{' {
		return true, wrongType(m.name, "an object", value)
	}
	inner := wholeJSONObject(value)
	own := *sp
	own.wrapsCount = false
	own.parameters = newParameterSet(promptParameters())
	if apiErr := readParameters(inner, own.parameters); apiErr != nil {
		return true, apiErr
	}
	nested := &decisionDraft{}
	if apiErr := decidePromptIn(&own, inner, nested); apiErr != nil {
		return true, apiErr
	}
	draft.reasons = append(draft.reasons, nested.reasons...)
	draft.prompt = &promptDraft{elements: &systemElements{}}
	if pd := nested.prompt; pd.inserted != nil {
		sortEdits(pd.edits)
		m.replacement = bytes.Join(splice(inner, countPlaceholders(inner, pd.edits)), nil)
		draft.prompt.inserted = pd.inserted
		draft.prompt.countedAt = m.start
		draft.prompt.counted = value
	}
	return true, nil
}

// promptParameters returns the parameters of a whole request whose tokens are counted that system prompts
// depend on.
func promptParameters() []*parameter {
	return inBothSpellings([]*parameter{modelID: ofString("model"), ofAnyType("contents"), ofObject("systemInstruction", nil)})
}

// applyPrompt has a decision insert the prompts of a draft.
func applyPrompt(ep *endpoint, obj *jsonObject, d *decision, pd *promptDraft) {
	if d.outline != nil && pd.elements.isRead {
		outlinePrompts(ep, obj, d.outline, pd.elements)
	}
	if pd.inserted == nil {
		return
	}
	list := append([]edit{}, d.edits...)
	for i := range list {
		list[i].bare = list[i].value
		if pd.counted != nil && list[i].from == pd.countedAt {
			list[i].bare = pd.counted
		}
	}
	list = append(list, countPlaceholders(obj, pd.edits)...)
	sortEdits(list)
	d.edits = list
	d.prompts = pd.inserted
	d.promptBytes = len(strings.Join(allPrompts(pd.inserted), ""))
}

// outlinePrompts leaves the system messages at the beginning of a conversation out of the elements that
// the next turn need not read: where prompts are inserted depends on them. A conversation with others is
// not remembered.
func outlinePrompts(ep *endpoint, obj *jsonObject, o *outline, e *systemElements) {
	if e.isInner {
		o.inside = counts{}
		return
	}
	if e.leading == 0 {
		return
	}
	all, to := o.counts, obj.members[obj.found[ep.memory.arrayID]-1].end-1
	from := e.afterLeading
	if e.isAll {
		from = to
	}
	outlineElements(o, obj, from, jsonArray([][]byte{obj.skeleton[from:to]}))
	o.counts = all
}

// insertPrompts returns a body with the prompts of the instances before, which was decided on without
// them.
func insertPrompts(ep *endpoint, body []byte, prior *insertedPrompts, model string) []byte {
	sp := newSystemPrompt(nil, ep)
	if sp == nil || prior == nil {
		return body
	}
	sp.parameters = newParameterSet([]*parameter{modelID: ofString("model"), ofAnyType(sp.place.elements)})
	if sp.place.name != "" {
		addParameter(sp.parameters, inBothSpellings([]*parameter{ofAnyType(sp.place.name)})[0])
	}
	setPrompts(sp, nil, prior)
	obj, draft := newJSONObject(body), &decisionDraft{model: model}
	if readParameters(obj, sp.parameters) != nil || decidePromptIn(sp, obj, draft) != nil {
		return body // not reached: an instance before has decided on it
	}
	sortEdits(draft.prompt.edits)
	return bytes.Join(splice(obj, countPlaceholders(obj, draft.prompt.edits)), nil)
}

// barePieces returns the body that a plan sends, in pieces, without the prompts that have been inserted.
func barePieces(pl *plan) [][]byte {
	pieces := append([][]byte{}, pl.pieces...)
	for i := range pl.decision.edits {
		pieces[2*i+1] = pl.decision.edits[i].bare
	}
	return pieces
}

// promptsIn returns the prompts that instances have inserted into the body of a plan; nil: there are
// none.
func promptsIn(pl *plan) *insertedPrompts {
	if !pl.withdrawn && pl.decision != nil && pl.decision.prompts != nil {
		return pl.decision.prompts
	}
	return pl.prompts
}

// bareBody returns the body that a plan sends without the prompts that have been inserted.
func bareBody(pl *plan) []byte {
	if len(pl.pieces) > 1 {
		return bytes.Join(barePieces(pl), nil)
	}
	return pl.decoded // the instance has changed nothing
}
