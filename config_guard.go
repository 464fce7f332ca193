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
	return g
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
	for _, role := range parseNames(config.Roles) {
		if role = parseOneOf(bad, prefix+"roles", role, roleSystem, roleUser, roleAssistant, roleTool); role != "" {
			r.roles = append(r.roles, role)
		}
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
	switch {
	case err != nil:
		bad.add(prefix+"pattern", "%s", strings.ReplaceAll(err.Error(), "`"+pattern+"`", "`"+config.Pattern+"`"))
	case hasTextEnds(parsed):
		bad.add(prefix+"pattern", `\A, \z and (?-m) cannot be used; use ^ and $, which match at the ends of lines`)
	case minCharacters(parsed) == 0:
		bad.add(prefix+"pattern", "must not match the empty text")
	default:
		r.hints = hintsOf(parsed)
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
	first   string   // it begins with this
	last    string   // it ends with this
	isExact bool     // it is first, which is also last
	oneOf   []string // it contains one of these; nil: nothing is known
}

// maxHintBytes bounds a hint that repetitions make.
const maxHintBytes = 64

// hintsOf returns the hints of a rule with an expression.
func hintsOf(re *syntax.Regexp) []string {
	return hintTexts(hintOf(re))
}

// hintTexts returns texts of which the folded form of every match contains one; nil: none are known.
func hintTexts(h hint) []string {
	if h.isExact {
		return betterHints(nil, []string{h.first})
	}
	return h.oneOf
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
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return hint{isExact: true}
	case syntax.OpLiteral:
		return hintOfLiteral(re)
	case syntax.OpCharClass:
		if isDigits(re.Rune) {
			return hint{first: "0", last: "0", isExact: true}
		}
	case syntax.OpCapture:
		return hintOf(re.Sub[0])
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
	return hint{}
}

func hintOfLiteral(re *syntax.Regexp) hint {
	text := string(re.Rune)
	if re.Flags&syntax.FoldCase != 0 {
		for _, char := range re.Rune {
			if char >= utf8.RuneSelf {
				return hint{} // folding knows ASCII only
			}
		}
	}
	text = foldReplacer.Replace(text)
	return hint{first: text, last: text, isExact: true}
}

// isDigits reports whether the ranges of a class hold nothing but digits.
func isDigits(ranges []rune) bool {
	for _, char := range ranges {
		if char < '0' || char > '9' {
			return false
		}
	}
	return len(ranges) > 0
}

func hintOfRepeated(h hint, least, most int) hint {
	if !h.isExact {
		return h
	}
	times := least
	if times*len(h.first) > maxHintBytes {
		times = 1
	}
	text := strings.Repeat(h.first, times)
	return hint{first: text, last: text, isExact: most == times, oneOf: betterHints(nil, []string{text})}
}

func hintOfSequence(subs []*syntax.Regexp) hint {
	all := hint{isExact: true}
	run := "" // what is certain up to here, without a gap
	for _, sub := range subs {
		h := hintOf(sub)
		run += h.first
		if all.isExact {
			all.first = run
		}
		all.oneOf = betterHints(betterHints(all.oneOf, []string{run}), h.oneOf)
		if !h.isExact {
			all.isExact = false
			run = h.last
		}
	}
	all.last = run
	return all
}

func hintOfAlternatives(subs []*syntax.Regexp) hint {
	all := hintOf(subs[0])
	texts := hintTexts(all)
	for _, sub := range subs[1:] {
		h := hintOf(sub)
		more := hintTexts(h)
		if texts == nil || more == nil {
			texts = nil
		} else {
			texts = append(append([]string{}, texts...), more...)
		}
		if h.first != all.first {
			all.first = ""
			all.isExact = false
		}
		if h.last != all.last {
			all.last = ""
			all.isExact = false
		}
		all.isExact = all.isExact && h.isExact
	}
	all.oneOf = texts
	return all
}
