package chatcompletion

import "strings"

// textChannel is a text that a stream shows in pieces, such as the content of a choice or the arguments of
// a tool.
type textChannel struct {
	key      string
	group    string // of the channels that follow each other, such as those of a choice; empty: it has no others
	block    string // the number of the block or item that its latest piece is in; empty: it is in none
	enforced textTail
	reported textTail
	pieces   []*textPiece // of the text that enforced has, in order, and not sent
}

// textTail is the end of a text as rules see it.
type textTail struct {
	before    string // has been decided on, and stays in view
	text      string // may become a match
	hasEscape bool   // what has been decided on may end in an escape, or with a part of one
}

// textPiece is a string of a held event that is a piece of a text.
type textPiece struct {
	event *heldEvent
	value guardedString
	at    int // where it begins in the text of the channel; below 0: a part of it has been decided on
}

// heldEvent is an event of a stream that waits until all its texts, and all events before it, have been
// decided on.
type heldEvent struct {
	raw     []byte
	plain   []byte // the same without what makes edits difficult; nil: there is nothing
	open    int    // pieces that have not been decided on
	edits   []guardEdit
	repeats []*guardedString // strings that repeat the text up to its pieces, besides them
	nulls   []guardEdit      // applied if there are edits: what repeats a text in another form is removed
}

// addPiece adds a piece to its channel.
func addPiece(g *responseGuard, ch *textChannel, event *heldEvent, value *guardedString) {
	if g.rules.enforced != nil {
		event.open++
		ch.pieces = append(ch.pieces, &textPiece{event: event, value: *value, at: len(ch.enforced.text)})
		ch.enforced.text += value.text
	}
	if g.rules.reported != nil {
		ch.reported.text += value.text
	}
}

// decideChannel decides on as much of the text of a channel as is certain, and reports whether the stream
// continues. isLast is set if no more text follows.
func decideChannel(g *responseGuard, ch *textChannel, isLast bool) bool {
	if g.rules.reported != nil {
		reportChannel(g, ch, isLast)
	}
	if g.rules.enforced == nil {
		return true
	}
	tail := &ch.enforced
	o := inspectView(g.rules.enforced, &textView{tail.before, tail.text, isLast}, guardLevels)
	if !o.complete {
		return blockUninspected(g)
	}
	if o.matches != nil && !enforceMatches(g, ch, o.matches) {
		return false
	}
	end := o.end
	if end > 0 {
		advanceTail(tail, end, g.rules.overlap)
		settlePieces(ch, end)
	}
	if len(tail.text) > g.rules.window && ch.pieces != nil {
		return blockUninspected(g)
	}
	return true
}

// reportChannel lists the rules that match and only report. Nothing is held for them.
func reportChannel(g *responseGuard, ch *textChannel, isLast bool) {
	tail := &ch.reported
	o := inspectView(g.rules.reported, &textView{tail.before, tail.text, isLast}, guardLevels)
	for _, m := range o.matches {
		noteMatch(g, m.rule)
	}
	end := o.end
	if len(tail.text)-end > g.rules.window {
		end = len(tail.text) - g.rules.window
	}
	advanceTail(tail, end, g.rules.overlap)
}

// advanceTail moves what has been decided on, and notes whether that ends in an escape.
func advanceTail(tail *textTail, end, overlap int) {
	moveTail(tail, tail.text, end, overlap)
	tail.hasEscape = endsInEscape(tail.before)
}

// moveTail sets the text of a tail, of which what precedes end has been decided on: its end stays in view.
func moveTail(tail *textTail, all string, end, overlap int) {
	before := tail.before + all[:end]
	if len(before) > overlap {
		before = before[len(before)-overlap:]
	}
	tail.before = before
	tail.text = all[end:]
}

// settlePieces takes the pieces that have been decided on out of a channel.
func settlePieces(ch *textChannel, end int) {
	var open []*textPiece
	for _, piece := range ch.pieces {
		if piece.at+len(piece.value.text) <= end {
			piece.event.open--
			continue
		}
		piece.at -= end
		open = append(open, piece)
	}
	ch.pieces = open
}

// enforceMatches masks what rules have found, and reports whether the stream continues: it does not if one
// of them blocks.
func enforceMatches(g *responseGuard, ch *textChannel, matches []guardMatch) bool {
	if r := blockingRule(matches); r != nil {
		return blockMatch(g, r)
	}
	for _, m := range matches {
		noteMatch(g, m.rule)
	}
	spans := maskedSpans(ch.enforced.text, matches)
	for _, piece := range ch.pieces {
		event := piece.event
		edits := maskEdits(&piece.value, piece.at, spans)
		if edits != nil {
			event.edits = append(event.edits, edits...)
			event.edits = append(event.edits, repeatEdits(event, ch.enforced.text[:piece.at+len(piece.value.text)], spans)...)
		}
	}
	return true
}

// repeatEdits returns the edits of the strings of an event that end with a text so far.
func repeatEdits(event *heldEvent, text string, spans []maskedSpan) []guardEdit {
	var edits []guardEdit
	for _, s := range event.repeats {
		if strings.HasSuffix(s.text, text) {
			edits = append(edits, maskEdits(s, len(text)-len(s.text), spans)...)
		}
	}
	return edits
}

// endChannel decides on all that a channel holds, since it has ended.
func endChannel(g *responseGuard, ch *textChannel) bool {
	if ch.enforced.text == "" && ch.reported.text == "" {
		return true
	}
	return decideChannel(g, ch, true)
}

// endChannels ends all channels, and reports whether the stream continues.
func endChannels(g *responseGuard) bool {
	for _, ch := range g.stream.channels {
		if !endChannel(g, ch) {
			return false
		}
	}
	return true
}

// noteEnding notes that the channels of a group, or those of a block, are said to have ended.
func noteEnding(g *responseGuard, group, block string) {
	st := g.stream
	for _, ch := range st.channels {
		if ch.pieces != nil && ((group != "" && ch.group == group) || (block != "" && ch.block == block)) {
			st.ending = append(st.ending, ch)
		}
	}
}

// settleBefore settles the channels that those of an event follow: the ones that had the latest pieces of
// their group, as the content follows the reasoning, whose end would else hold all that follows, and the ones
// that are said to have ended.
func settleBefore(g *responseGuard, channels []*textChannel, pieces []*guardedString) bool {
	st := g.stream
	var present []*textChannel
	for i, ch := range channels {
		if pieces[i].text != "" {
			present = append(present, ch)
		}
	}
	if present == nil {
		return true
	}
	before := st.ending
	st.ending = nil
	for _, ch := range present {
		if ch.group != "" {
			before = append(before, st.latest[ch.group]...)
			st.latest[ch.group] = nil
		}
	}
	for _, ch := range present {
		if ch.group != "" {
			st.latest[ch.group] = append(st.latest[ch.group], ch)
		}
	}
	for _, ch := range before {
		if !hasChannel(present, ch) && !settleChannel(g, ch) {
			return false
		}
	}
	return true
}

func hasChannel(channels []*textChannel, ch *textChannel) bool {
	for _, other := range channels {
		if other == ch {
			return true
		}
	}
	return false
}

// isFollowed reports whether a piece of a channel would follow other texts that are not settled.
func isFollowed(st *guardedStream, ch *textChannel) bool {
	if len(st.ending) > 0 {
		return true
	}
	latest := st.latest[ch.group]
	return ch.group != "" && (len(latest) != 1 || latest[0] != ch)
}

// settleChannel decides on what a channel holds as if it had ended. Should it be continued, what has been sent
// of it is still in view: a match that began there is blocked, or masked from there on.
func settleChannel(g *responseGuard, ch *textChannel) bool {
	if ch.pieces == nil {
		return true
	}
	text := ch.enforced.text
	o := inspectView(g.rules.enforced, &textView{ch.enforced.before, text, true}, guardLevels)
	if !o.complete {
		return blockUninspected(g)
	}
	if o.matches != nil {
		return decideChannel(g, ch, true)
	}
	settlePieces(ch, len(text))
	return true
}
