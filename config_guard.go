package chatcompletion

import (
	"fmt"
	"net/http"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Beginnings of the keys of rules.
const (
	guardRequest  = "guard.request."
	guardResponse = "guard.response."
)

// guardRoles are the values of GuardRule.Roles.
var guardRoles = []string{roleSystem, roleUser, roleAssistant, roleTool}

// Bounds and defaults of Config.Guard.
const (
	maxGuardRules        = 64
	maxPatternCharacters = 500
	maxKeptCharacters    = 64
	maxBlockMessageBytes = 1000
	defaultGuardWindow   = 1024
	minGuardWindow       = 64
	maxGuardWindow       = 64 << 10
	defaultGuardOverlap  = 256
	minGuardOverlap      = 16
	defaultGuardMaxHold  = 16 << 10
	maxGuardMaxHold      = 1 << 20
)

// parseGuard parses Config.Guard. It returns nil if there are no rules.
func parseGuard(bad *problems, config *Guard) *guard {
	g := &guard{request: parseGuardRules(bad, guardRequest, config.Request.Rules), response: parseGuardRules(bad, guardResponse, config.Response.Rules)}
	for i, rule := range config.Response.Rules {
		if len(parseNames(rule.Roles)) > 0 {
			bad.add(rulePrefix(guardResponse, i)+"roles", "have no effect on responses")
		}
	}
	parseStreamGuard(bad, g, &config.Response)
	g.blockStatus = parseInteger(bad, "guard.onBlock.status", config.OnBlock.Status, http.StatusBadRequest, 400, 499, "")
	g.blockMessage = strings.TrimSpace(config.OnBlock.Message)
	if len(g.blockMessage) > maxBlockMessageBytes || !utf8.ValidString(g.blockMessage) {
		bad.add("guard.onBlock.message", "must be a text of at most %d bytes", maxBlockMessageBytes)
	}
	if g.request == nil && g.response == nil {
		checkUnused(bad, "guard.onBlock.", []setting{{"status", config.OnBlock.Status}, {"message", config.OnBlock.Message}}, "without rules")
		return nil
	}
	return g
}

// checkGuardedRoutes checks that no route is for what cannot be inspected.
func checkGuardedRoutes(bad *problems, p *policy) {
	for _, r := range p.routes {
		if p.guard != nil && r.kind == realtime {
			bad.add("guard", "has no effect on a WebSocket, and so cannot be set with %q in %q; use another middleware there", r.kind, "routes")
		}
	}
}

// parseStreamGuard parses the bounds on what is held of a stream.
func parseStreamGuard(bad *problems, g *guard, config *GuardResponse) {
	g.window = parseInteger(bad, guardResponse+"window", config.Window, defaultGuardWindow, minGuardWindow, maxGuardWindow, "bytes")
	overlap := defaultGuardOverlap
	if overlap > g.window {
		overlap = g.window
	}
	g.overlap = parseInteger(bad, guardResponse+"overlap", config.Overlap, overlap, minGuardOverlap, g.window, "bytes")
	hold := defaultGuardMaxHold
	if hold < g.window {
		hold = g.window
	}
	g.maxHold = parseInteger(bad, guardResponse+"maxHold", config.MaxHold, hold, g.window, maxGuardMaxHold, "bytes")
	if g.response == nil {
		checkUnused(bad, guardResponse, []setting{{"window", config.Window}, {"overlap", config.Overlap}, {"maxHold", config.MaxHold}}, "without rules")
	}
}

// parseResponseRules makes what responses are inspected with; nil: there are no rules for them.
func parseResponseRules(bad *problems, p *policy) *responseRules {
	if p.guard == nil || p.guard.response == nil || len(bad.found) > 0 {
		return nil
	}
	rules, err := newResponseRules(p.guard, p.reportOnly)
	if err != nil {
		bad.add(guardResponse+"rules", "%s", err)
	}
	return rules
}

// rulePrefix returns what the keys of one of the rules begin with.
func rulePrefix(parent string, place int) string {
	return fmt.Sprintf("%srules[%d].", parent, place)
}

// parseGuardRules parses the rules for requests or responses. It returns nil if there are none.
func parseGuardRules(bad *problems, parent string, rules []GuardRule) *guardRules {
	if len(rules) == 0 {
		return nil
	}
	if len(rules) > maxGuardRules {
		bad.add(parent+"rules", "must be at most %d", maxGuardRules)
		return nil
	}
	g := &guardRules{}
	names := map[string]bool{}
	for i := range rules {
		prefix := rulePrefix(parent, i)
		r := parseGuardRule(bad, prefix, &rules[i])
		if names[r.name] {
			bad.add(prefix+"name", "%q is the name of another rule", r.name)
		}
		names[r.name] = true
		g.rules = append(g.rules, r)
	}
	if hints := plainHints(g.rules); hints != nil {
		g.marks = newMarks(hints)
	}
	return g
}

// plainHints returns the longest plain part of each hint of all rules; nil: a rule has a hint without one.
func plainHints(rules []*guardRule) []string {
	var plain []string
	for _, r := range rules {
		if r.hints == nil {
			return nil
		}
		for _, hint := range r.hints {
			longest := ""
			for _, part := range strings.FieldsFunc(hint, isEscaped) {
				if len(part) > len(longest) {
					longest = part
				}
			}
			if longest == "" {
				return nil
			}
			if !containsText(plain, longest) {
				plain = append(plain, longest)
			}
		}
	}
	return plain
}

// isEscaped reports whether JSON may have a character as an escape that hiddenCharacter does not match.
func isEscaped(char rune) bool {
	return char < ' ' || char >= utf8.RuneSelf || strings.ContainsRune(`"\/&'<>`, char)
}

// parseGuardRule parses one of the rules.
func parseGuardRule(bad *problems, prefix string, config *GuardRule) *guardRule {
	r := &guardRule{name: strings.TrimSpace(config.Name)}
	if !quotaName.MatchString(r.name) {
		bad.add(prefix+"name", "must be a name of at most 64 letters, digits, dots, underscores and hyphens, got %q", shortened(config.Name))
	}
	r.action = parseOneOf(bad, prefix+"action", config.Action, actionBlock, actionMask, actionReport)
	if strings.TrimSpace(config.Action) == "" {
		bad.add(prefix+"action", "must be set, such as %q", actionBlock)
	}
	parsePattern(bad, prefix, config, r)
	parseMask(bad, prefix+"mask.", &config.Mask, r)
	for _, name := range parseNames(config.Roles) {
		role := strings.ToLower(name)
		if !containsText(guardRoles, role) {
			bad.add(prefix+"roles", "must be some of %s, got %q", strings.Join(guardRoles, ", "), shortened(name))
		}
		r.roles = append(r.roles, role)
	}
	return r
}

// parsePattern parses what a rule looks for.
func parsePattern(bad *problems, prefix string, config *GuardRule, r *guardRule) {
	builtin := parseOneOf(bad, prefix+"builtin", config.Builtin, builtinNames...)
	pattern := config.Pattern
	hasBuiltin := strings.TrimSpace(config.Builtin) != ""
	switch {
	case hasBuiltin && pattern != "":
		bad.add(prefix+"pattern", "has no effect with %q", "builtin")
		return
	case hasBuiltin:
		pattern = builtinPatterns[builtin]
		r.isBuiltin = true
		if checkedBuiltins[builtin] {
			r.check = builtin
		}
	case pattern == "":
		bad.add(prefix+"pattern", "must be set, or %q", "builtin")
		return
	case utf8.RuneCountInString(pattern) > maxPatternCharacters:
		bad.add(prefix+"pattern", "must have at most %d characters", maxPatternCharacters)
		return
	}
	// Several texts are matched at once, with a line feed after each.
	pattern = "(?m:" + pattern + ")"
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err == nil {
		r.pattern, err = regexp.Compile(pattern)
	}
	r.quick = r.pattern
	quick := parsed
	if text := quickPatterns[builtin]; text != "" && hasBuiltin {
		text = "(?m:" + text + ")"
		r.quick = regexp.MustCompile(text)
		quick, _ = syntax.Parse(text, syntax.Perl)
	}
	switch {
	case err != nil:
		bad.add(prefix+"pattern", "%s", strings.ReplaceAll(err.Error(), "`"+pattern+"`", "`"+config.Pattern+"`"))
	case hasTextEnds(parsed):
		bad.add(prefix+"pattern", `\A, \z and (?-m) cannot be used; use ^ and $, which match at the ends of lines`)
	case minCharacters(parsed) == 0:
		bad.add(prefix+"pattern", "must not match the empty text")
	default:
		useHints(r, betterHints(hintsOf(parsed), hintsOf(quick)), quickSkips[builtin])
	}
}

// useHints sets the hints of a rule; nil: there are none.
func useHints(r *guardRule, hints, skipped []string) {
	r.hints = hints
	if hints != nil {
		r.marks = newMarks(hints, skipped...)
	}
}

// parseMask parses how a rule masks.
func parseMask(bad *problems, prefix string, config *GuardMask, r *guardRule) {
	if r.action != actionMask {
		checkUnused(bad, prefix, []setting{{"char", config.Char}, {"keepLeft", config.KeepLeft}, {"keepRight", config.KeepRight}}, "without action mask")
		return
	}
	style := &maskStyle{char: "*"}
	if config.Char != "" {
		style.char = config.Char
	}
	char, size := utf8.DecodeRuneInString(style.char)
	if size != len(style.char) || char == utf8.RuneError || !unicode.IsPrint(char) || char == '"' || char == '\\' {
		bad.add(prefix+"char", "must be one character, and no quote, backslash or control character")
	}
	style.keepLeft = parseInteger(bad, prefix+"keepLeft", config.KeepLeft, 0, 0, maxKeptCharacters, "characters")
	style.keepRight = parseInteger(bad, prefix+"keepRight", config.KeepRight, 0, 0, maxKeptCharacters, "characters")
	r.mask = style
}

// hasTextEnds reports whether an expression refers to the beginning or the end of the whole text.
func hasTextEnds(re *syntax.Regexp) bool {
	if re.Op == syntax.OpBeginText || re.Op == syntax.OpEndText {
		return true
	}
	for _, sub := range re.Sub {
		if hasTextEnds(sub) {
			return true
		}
	}
	return false
}

// minCharacters returns how many characters a match of an expression has at least; 1 stands for any
// larger number.
func minCharacters(re *syntax.Regexp) int {
	switch re.Op {
	case syntax.OpLiteral, syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL, syntax.OpNoMatch:
		return 1
	case syntax.OpCapture, syntax.OpPlus:
		return minCharacters(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min == 0 {
			return 0
		}
		return minCharacters(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if minCharacters(sub) > 0 {
				return 1
			}
		}
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if minCharacters(sub) == 0 {
				return 0
			}
		}
		return 1
	}
	return 0
}

// hint is what is certain about the folded form of each match of an expression.
type hint struct {
	firsts  []string // it begins with one of these
	lasts   []string // it ends with one of these
	isExact bool     // it is one of firsts, which are also lasts
	oneOf   []string // it contains one of these; nil: nothing is known
}

// Bounds of hints, which alternatives and repetitions multiply.
const (
	maxHintTexts = 128
	maxHintBytes = 64
)

// hintsOf returns texts of which the folded form of every match contains one; nil: none are known.
func hintsOf(re *syntax.Regexp) []string {
	return hintOf(re).oneOf
}

// exactHint returns the hint of an expression that matches certain texts.
func exactHint(texts []string) hint {
	return hint{firsts: texts, lasts: texts, isExact: true, oneOf: betterHints(nil, texts)}
}

// betterHints returns the one of two lists that more texts lack.
func betterHints(a, b []string) []string {
	if shortest(b) > shortest(a) {
		return b
	}
	return a
}

func shortest(texts []string) int {
	least := 0
	for i, text := range texts {
		if i == 0 || len(text) < least {
			least = len(text)
		}
	}
	return least
}

func hintOf(re *syntax.Regexp) hint {
	unknown := hint{firsts: []string{""}, lasts: []string{""}}
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return exactHint([]string{""})
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 || isASCII(re.Rune) {
			return exactHint([]string{foldReplacer.Replace(string(re.Rune))})
		}
	case syntax.OpCharClass:
		if texts := textsOfClass(re.Rune); texts != nil {
			return exactHint(texts)
		}
	case syntax.OpCapture:
		return hintOf(re.Sub[0])
	case syntax.OpQuest:
		if h := hintOf(re.Sub[0]); h.isExact {
			return exactHint(allTexts([]string{""}, h.firsts))
		}
	case syntax.OpPlus:
		return hintOfRepeated(hintOf(re.Sub[0]), 1, -1)
	case syntax.OpRepeat:
		if re.Min > 0 {
			return hintOfRepeated(hintOf(re.Sub[0]), re.Min, re.Max)
		}
	case syntax.OpConcat:
		return hintOfSequence(re.Sub)
	case syntax.OpAlternate:
		return hintOfAlternatives(re.Sub)
	}
	return unknown
}

// isASCII reports whether folding knows all of some characters.
func isASCII(chars []rune) bool {
	for _, char := range chars {
		if char >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// textsOfClass returns the folded characters of a class, from its ranges; nil: they are many.
func textsOfClass(ranges []rune) []string {
	var texts []string
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] > 9 {
			return nil
		}
		for char := ranges[i]; char <= ranges[i+1]; char++ {
			if text := foldReplacer.Replace(string(char)); !containsText(texts, text) {
				texts = append(texts, text)
			}
		}
	}
	if len(texts) > 10 {
		return nil
	}
	return texts
}

// joinedTexts returns each text of a list with each of another one after it; nil: they are too many.
func joinedTexts(before, after []string) []string {
	if len(before)*len(after) > maxHintTexts {
		return nil
	}
	var joined []string
	for _, first := range before {
		for _, second := range after {
			if len(first)+len(second) > maxHintBytes {
				return nil
			}
			joined = append(joined, first+second)
		}
	}
	return joined
}

func hintOfRepeated(h hint, least, most int) hint {
	if !h.isExact {
		return h
	}
	texts := h.firsts
	for i := 1; i < least; i++ {
		more := joinedTexts(texts, h.firsts)
		if more == nil {
			most = -1
			break
		}
		texts = more
	}
	repeated := exactHint(texts)
	repeated.isExact = most == least
	return repeated
}

func hintOfSequence(subs []*syntax.Regexp) hint {
	all := exactHint([]string{""})
	run := all.firsts // what is certain up to here, without a gap
	for _, sub := range subs {
		h := hintOf(sub)
		joined := joinedTexts(run, h.firsts)
		all.oneOf = betterHints(betterHints(all.oneOf, joined), h.oneOf)
		if joined != nil && all.isExact {
			all.firsts = joined
		}
		if joined != nil && h.isExact {
			run = joined
			continue
		}
		all.isExact = false
		run = h.lasts
	}
	all.lasts = run
	return all
}

func hintOfAlternatives(subs []*syntax.Regexp) hint {
	all := hintOf(subs[0])
	for _, sub := range subs[1:] {
		h := hintOf(sub)
		all.firsts = allTexts(all.firsts, h.firsts)
		all.lasts = allTexts(all.lasts, h.lasts)
		all.isExact = all.isExact && h.isExact
		if all.oneOf == nil || h.oneOf == nil {
			all.oneOf = nil
		} else {
			all.oneOf = allTexts(all.oneOf, h.oneOf)
		}
	}
	return all
}

// allTexts returns the texts of two lists, each once.
func allTexts(a, b []string) []string {
	all := append([]string{}, a...)
	for _, text := range b {
		if !containsText(all, text) {
			all = append(all, text)
		}
	}
	return all
}
