package chatcompletion

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// guardRulesOf returns the parsed rules of a configuration.
func guardRulesOf(t testing.TB, rules ...GuardRule) *guardRules {
	t.Helper()
	bad := &problems{}
	g := parseGuardRules(bad, guardRequest, rules)
	if len(bad.found) > 0 {
		t.Fatal(bad.found)
	}
	return g
}

func TestBuiltinsMatch(t *testing.T) {
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	pem := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nMIIEow+/IBAA==\n-----END RSA PRIVATE KEY-----"
	for _, test := range []struct {
		builtin string
		text    string
		want    []string
	}{
		{builtinEmail, "Write to jane.doe+x@mail.example.co.uk, or to bob@example.com.", []string{"jane.doe+x@mail.example.co.uk", "bob@example.com"}},
		{builtinEmail, "user@host and @name and a@b.c", nil},
		{builtinEmail, "jürgen@müller.de", []string{"jürgen@müller.de"}},
		{builtinPhone, "Call +49 30 1234567 or (212) 555-0123, 212-555-0124.", []string{"+49 30 1234567", "(212) 555-0123", "212-555-0124"}},
		{builtinPhone, "+1234567890123456789012 or 2024-11-30 or 1212-555-0124", nil},
		{builtinSSN, "His is 078-05-1120, hers 219 09 9999", []string{"078-05-1120", "219 09 9999"}},
		{builtinSSN, "SSN078-05-1120_", []string{"078-05-1120"}},
		{builtinSSN, "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000 1078-05-1120 078-05-11201", nil},
		{builtinCreditCard, "4111111111111111", []string{"4111111111111111"}},
		{builtinCreditCard, "card_4111 1111 1111 1111x 3782-822463-10005", []string{"4111 1111 1111 1111", "3782-822463-10005"}},
		{builtinCreditCard, "12345 4111-1111-1111-1111 99", []string{"4111-1111-1111-1111"}},
		{builtinCreditCard, "6011 0009 9013 9424 5555 5555 5555 4444", []string{"6011 0009 9013 9424", "5555 5555 5555 4444"}},
		{builtinCreditCard, "4222222222222 and 6304000000000000000", []string{"4222222222222", "6304000000000000000"}},
		{builtinCreditCard, "4111111111111112 1700000000000 41111111111111111111111 2019 2020 2021 2022 0.4111111111111111", nil},
		{builtinIBAN, "Pay to DE89 3704 0044 0532 0130 00 SOON or gb82west12345698765432.", []string{"DE89 3704 0044 0532 0130 00", "gb82west12345698765432"}},
		{builtinIBAN, "DE12 CH34 FR1420041010050500013M02606", []string{"FR1420041010050500013M02606"}},
		{builtinIBAN, "DE88370400440532013000 sha256 of the text", nil},
		{builtinIPv4, "From 10.0.0.1:80 to 255.255.255.255.", []string{"10.0.0.1", "255.255.255.255"}},
		{builtinIPv4, "1.2.3.4.5 256.1.1.1 1.2.3 01.2.3.4", nil},
		{builtinSecretKey, "sk-proj-abcdefghij0123456789", []string{"sk-proj-abcdefghij0123456789"}},
		{builtinSecretKey, "(sk-ant-api03-abcdefghij0123456789)", []string{"sk-ant-api03-abcdefghij0123456789"}},
		{builtinSecretKey, "sk-estimator-doc-link-fitted task-0123456789012345678901234 sk-short1", nil},
		{builtinSecretKey, "AIzaSyA0123456789abcdefghijklmnopqrstuv", []string{"AIzaSyA0123456789abcdefghijklmnopqrstuv"}},
		{builtinSecretKey, "key=AKIAIOSFODNN7EXAMPLE", []string{"AKIAIOSFODNN7EXAMPLE"}},
		{builtinSecretKey, "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", []string{"AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}},
		{builtinSecretKey, "ghp_" + strings.Repeat("a1", 18), []string{"ghp_" + strings.Repeat("a1", 18)}},
		{builtinSecretKey, "xoxb-1234567890-abc", []string{"xoxb-1234567890-abc"}},
		{builtinSecretKey, "sk" + "_live_" + strings.Repeat("a1", 12), []string{"sk" + "_live_" + strings.Repeat("a1", 12)}},
		{builtinSecretKey, "Bearer " + jwt + ".", []string{jwt}},
		{builtinSecretKey, "a\n" + pem + "\nb", []string{pem}},
		{builtinSecretKey, "-----BEGIN CERTIFICATE-----", nil},
	} {
		g := guardRulesOf(t, GuardRule{Name: "rule", Builtin: test.builtin, Action: actionMask})
		matches, complete := findMatches(g, test.text, "")
		var got []string
		for _, m := range matches {
			got = append(got, test.text[m.from:m.to])
		}
		if !complete || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s in %q: got %q, %v, want %q", test.builtin, test.text, got, complete, test.want)
		}
		if got != nil && !matchesAny(g, "before\n"+test.text+"\nafter") {
			t.Errorf("%s in %q: the quick search finds nothing", test.builtin, test.text)
		}
	}
}

func TestMaskedTextMasksWhatAnyRuleMasks(t *testing.T) {
	card := GuardRule{Name: "card", Builtin: builtinCreditCard, Action: actionMask, Mask: GuardMask{KeepLeft: 2, KeepRight: 4}}
	for _, test := range []struct {
		rules []GuardRule
		text  string
		want  string
	}{
		{[]GuardRule{card}, "a 4111111111111111 b 4222222222222", "a 41**********1111 b 42*******2222"},
		{[]GuardRule{card, {Name: "end", Pattern: "1111 b", Action: actionMask, Mask: GuardMask{Char: "•"}}}, "a 4111111111111111 b", "a 41**********••••••"},
		{[]GuardRule{{Name: "name", Pattern: "(?i)jürgen", Action: actionMask, Mask: GuardMask{KeepLeft: 2}}}, "JÜRGEN", "JÜ****"},
		{[]GuardRule{{Name: "short", Pattern: "abc", Action: actionMask, Mask: GuardMask{KeepLeft: 2, KeepRight: 1}}}, "abcd", "***d"},
		{[]GuardRule{{Name: "other", Pattern: "abc", Action: actionReport}}, "abcd", "abcd"},
	} {
		g := guardRulesOf(t, test.rules...)
		matches, _ := findMatches(g, test.text, "")
		if got := maskedText(test.text, matches); got != test.want {
			t.Errorf("%q: got %q, want %q", test.text, got, test.want)
		}
	}
}

func TestRulesApplyToRoles(t *testing.T) {
	g := guardRulesOf(t, GuardRule{Name: "a", Pattern: "x", Action: actionBlock, Roles: []string{"user", "Tool"}})
	for role, want := range map[string]int{roleUser: 1, roleTool: 1, roleSystem: 0, roleAssistant: 0, "": 1} {
		if found, _ := findMatches(g, "x", role); len(found) != want {
			t.Errorf("%s: got %d matches, want %d", role, len(found), want)
		}
	}
}

func TestTooManyMatchesAreNotFound(t *testing.T) {
	g := guardRulesOf(t, GuardRule{Name: "a", Pattern: "x", Action: actionMask}, GuardRule{Name: "b", Builtin: builtinCreditCard, Action: actionMask})
	for _, text := range []string{strings.Repeat("x", maxGuardMatches+1), strings.Repeat("4111 ", 2*maxGuardCandidates)} {
		if _, complete := findMatches(g, text, ""); complete {
			t.Errorf("%d bytes: got complete matches, want incomplete ones", len(text))
		}
	}
}

func TestHintsOfPatterns(t *testing.T) {
	for pattern, want := range map[string][]string{
		`(?i)Project-Aurora`:     {"project-aurora"},
		`[0-9]{3}-[0-9]{2}`:      {"000-00"},
		`(?:secret|password)\d+`: {"secret0", "password0"},
		`a.*bcd`:                 {"bcd"},
		`(?:ab)+c`:               {"abc"},
		`(?i)straße`:             nil,
		`[a-z]+`:                 nil,
		`foo|[a-z]`:              nil,
		`gh[po]_x|github_`:       {"gho_x", "ghp_x", "github_"},
		`x{3,}`:                  {"xxx"},
		`^line \w`:               {"line "},
	} {
		g := guardRulesOf(t, GuardRule{Name: "a", Pattern: pattern, Action: actionBlock})
		if got := g.rules[0].hints; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q, want %q", pattern, got, want)
		}
	}
}

// FuzzHints verifies that no text with a match lacks the hints of its pattern.
func FuzzHints(f *testing.F) {
	for _, pattern := range []string{`(?i)Project-Aurora`, `(?:secret|password)\d+x`, `a.*bcd`, `(ab)+c?d`, `(?i)straße|kss`, `x{3,5}y{2}`, `^l(?:in)?e$`, `[A-z1-3]{2}3`} {
		f.Add(pattern, "PROJECT-aurora secret7x password12x abcd abababd \u212ass xxxxyy line za3")
	}
	for _, pattern := range builtinPatterns {
		f.Add(pattern, "a@example.com +49 30 1234567 078-05-1120 4111 1111 1111 1111 DE89370400440532013000 10.0.0.1 AKIAIOSFODNN7EXAMPLE")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		r := &guardRule{action: actionBlock}
		bad := &problems{}
		parsePattern(bad, "", &GuardRule{Pattern: pattern}, r)
		if len(bad.found) > 0 {
			return
		}
		for _, place := range r.pattern.FindAllStringIndex(text, -1) {
			if place[0] == place[1] {
				t.Errorf("%q matches the empty text", pattern)
			}
			if !mayMatch(r, foldedForHints(text)) {
				t.Errorf("%q matches %q without its hints %q", pattern, text, r.hints)
			}
		}
	})
}

// An address has at most 64 characters before its at sign, whatever precedes them.
func TestAddressesHaveBounds(t *testing.T) {
	rule := &guardRule{name: "mails", action: actionMask, pattern: regexp.MustCompile(builtinPatterns[builtinEmail]), check: builtinEmail, mask: &maskStyle{char: "*"}}
	rule.quick = rule.pattern
	rules := &guardRules{rules: []*guardRule{rule}}
	for _, c := range []struct{ text, want string }{
		{"jo@example.com", "**************"},
		{strings.Repeat("a", 64) + "@b.de", strings.Repeat("*", 69)},
		{strings.Repeat("a", 70) + "@b.de", strings.Repeat("a", 6) + strings.Repeat("*", 69)},
		{strings.Repeat("é", 300) + "@b.de", strings.Repeat("é", 236) + strings.Repeat("*", 69)},
		{"a@" + strings.Repeat("b", 63) + ".de", strings.Repeat("*", 68)},
		{"a@" + strings.Repeat("b", 64) + ".de", "a@" + strings.Repeat("b", 64) + ".de"},
		{"a@b.c@d.e@f.gh", "a@b.c@" + strings.Repeat("*", 8)},
	} {
		matches, _ := findMatches(rules, c.text, "")
		if got := maskedText(c.text, matches); got != c.want {
			t.Errorf("%s: got %s, want %s", c.text, got, c.want)
		}
	}
}
