package chatcompletion

import (
	"net"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Values of GuardRule.Builtin.
const (
	builtinEmail      = "email"
	builtinPhone      = "phone"
	builtinSSN        = "ssn"
	builtinCreditCard = "creditCard"
	builtinIBAN       = "iban"
	builtinIPv4       = "ipv4"
	builtinSecretKey  = "secretKey"
)

// builtinNames are the builtins in the order of the documentation.
var builtinNames = []string{builtinEmail, builtinPhone, builtinSSN, builtinCreditCard, builtinIBAN, builtinIPv4, builtinSecretKey}

// builtinPatterns are what the builtins look for. Those of cards and IBANs match a whole run of
// characters that may hold one, so that a number before it hides nothing; checkPlace finds it there.
var builtinPatterns = map[string]string{
	builtinEmail: `[\pL\pN._%+'-]+@[\pL\pN](?:[\pL\pN-]{0,61}[\pL\pN])?(?:\.[\pL\pN](?:[\pL\pN-]{0,61}[\pL\pN])?)*\.\pL{2,63}`,
	builtinPhone: `\+[0-9]{1,3}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?[0-9](?:[ ./-]?[0-9]){5,13}|` +
		`\([0-9]{3}\)[ .-]?[0-9]{3}[ .-][0-9]{4}|[0-9]{3}[ .-][0-9]{3}[ .-][0-9]{4}`,
	builtinSSN: `(?:00[1-9]|0[1-9][0-9]|[1-578][0-9]{2}|6[0-57-9][0-9]|66[0-57-9])[ -](?:0[1-9]|[1-9][0-9])[ -]` +
		`(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})`,
	builtinCreditCard: `[0-9]{4}[ -]?[0-9]{4}(?:[ -]?[0-9]){5,}`,
	builtinIBAN:       ibanBeginning + `(?:[ -]?[A-Za-z0-9]){11,}`,
	builtinIPv4:       `[0-9]{1,3}(?:\.[0-9]{1,3}){3}`,
	builtinSecretKey: `\bsk-[A-Za-z0-9_-]{20,}` + // OpenAI, Anthropic and others
		`|AIza[A-Za-z0-9_-]{35}|\bya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}` + // Google
		`|(?:AKIA|ASIA)[A-Z0-9]{16}|(?i:aws_?secret_?access_?key)["' ]{0,3}[=:]["' ]{0,3}[A-Za-z0-9/+=]{40}` + // AWS
		`|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}` + // GitHub
		`|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}` + // Slack
		`|(?:[srp]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}` + // Stripe
		`|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*` + // JWT
		`|-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\s\\,:.]|-[A-Za-z])*(?:-----END [A-Z0-9 ]{0,50}-----)?`, // PEM
}

// checkedBuiltins are those whose pattern finds more than matches.
var checkedBuiltins = map[string]bool{
	builtinEmail: true, builtinPhone: true, builtinSSN: true, builtinCreditCard: true, builtinIBAN: true, builtinIPv4: true, builtinSecretKey: true,
}

// checkWork is the search for matches in one text.
type checkWork struct {
	text       string
	rule       *guardRule
	found      []guardMatch
	candidates int // places that have been looked at
}

// checkPlace adds the matches in a place that the pattern of the rule has found.
func checkPlace(w *checkWork, from, to int) {
	switch w.rule.check {
	case builtinCreditCard:
		findCards(w, from, to)
	case builtinIBAN:
		findIBANs(w, from, to)
	case builtinEmail:
		w.candidates++
		addMatch(w, addressStart(w.text[:to], from), to)
	default:
		w.candidates++
		if passesCheck(w.rule.check, w.text, from, to) {
			addMatch(w, from, to)
		}
	}
}

func addMatch(w *checkWork, from, to int) {
	w.found = append(w.found, guardMatch{from, to, w.rule})
}

// localCharacters is how many characters an address has before its at sign at most.
const localCharacters = 64

// addressStart returns where an address begins whose characters, up to the end of a text, begin at a place:
// there may be more of them than an address has. The at sign may follow the text.
func addressStart(text string, from int) int {
	local := text[from:]
	if at := strings.IndexByte(local, '@'); at >= 0 {
		local = local[:at]
	}
	if len(local) <= localCharacters {
		return from
	}
	end := from + len(local)
	if most := localCharacters * utf8.UTFMax; len(local) > most {
		local = local[len(local)-most:]
	}
	characters := []rune(local)
	if len(characters) <= localCharacters {
		return from
	}
	return end - len(string(characters[len(characters)-localCharacters:]))
}

// passesCheck reports whether what the pattern of a builtin has found is a match.
func passesCheck(check, text string, from, to int) bool {
	switch check {
	case builtinPhone, builtinSSN:
		return !isDigitAt(text, from-1) && !isDigitAt(text, to)
	case builtinIPv4: // and no version with more numbers
		isLonger := isDigitAt(text, from-1) || isDigitAt(text, to) || isFraction(text, from) || (isByteAt(text, to, '.') && isDigitAt(text, to+1))
		return !isLonger && net.ParseIP(text[from:to]) != nil
	case builtinSecretKey: // names of many words may begin like keys
		return text[from] != 's' || text[from+1] != 'k' || strings.ContainsAny(text[from:to], digits)
	}
	return true
}

const digits = "0123456789"

// isFraction reports whether a place is after the decimal point of a number.
func isFraction(text string, at int) bool {
	return isByteAt(text, at-1, '.') && isDigitAt(text, at-2)
}

func isByteAt(text string, at int, b byte) bool {
	return at >= 0 && at < len(text) && text[at] == b
}

func isDigitAt(text string, at int) bool {
	return at >= 0 && at < len(text) && text[at] >= '0' && text[at] <= '9'
}

// cardForm matches 13 to 19 digits in one group, or in groups of 4 or of 4, 6 and 4 or 5 digits, with the
// first digits of an issuer.
const cardForm = `(?:4[0-9]{3}|5[0-8][0-9]{2}|2[2-7][0-9]{2}|3[0-9]{3}|6[0-9]{3}|81[0-9]{2})` +
	`(?:[0-9]{9,15}|[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{1,4}(?:[ -][0-9]{1,3})?|[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{5,7}|[ -][0-9]{6}[ -][0-9]{4,5})`

// cardNumber matches the number of a card at the beginning of a run.
var cardNumber = regexp.MustCompile(`^` + cardForm + `(?:[ -]|$)`)

// quickPatterns match every text in which a builtin finds something, and fewer others than its pattern.
// That of an IBAN is for any country, since a choice of many takes long at each character.
var quickPatterns = map[string]string{
	builtinCreditCard: `(?:^|[^0-9])` + cardForm + `(?:[^0-9]|$)`,
	builtinIBAN:       `[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11}`,
}

// quickSkips are parts of folded texts that are no hints of a builtin: runs of digits that are longer than the
// number of any card.
var quickSkips = map[string][]string{builtinCreditCard: {"00000000000000000000"}}

// groupEnds end a group of digits.
const groupEnds = " -"

// findCards adds the numbers of cards in a run of digits: they begin and end with a group.
func findCards(w *checkWork, from, to int) {
	for at := from; at < to && w.candidates <= maxGuardCandidates; {
		w.candidates++
		run := w.text[at:to]
		if end := cardEnd(run); end > 0 && !isDigitAt(w.text, at-1) && !isFraction(w.text, at) {
			addMatch(w, at, at+end)
			at += end
			continue
		}
		next := strings.IndexAny(run, groupEnds)
		if next < 0 {
			return
		}
		at += next + 1
	}
}

// cardEnd returns where the number of a card at the beginning of a run ends; 0: there is none. The last
// group may be another number.
func cardEnd(run string) int {
	end := len(strings.TrimRight(cardNumber.FindString(run), groupEnds))
	for end > 0 && !passesLuhn(run[:end]) {
		end = strings.LastIndexAny(run[:end], groupEnds)
	}
	if end < 0 {
		return 0
	}
	return end
}

// passesLuhn reports whether a number has 13 digits or more, and the last one is the check digit of those
// before.
func passesLuhn(number string) bool {
	sum, count := 0, 0
	for i := len(number) - 1; i >= 0; i-- {
		if number[i] < '0' || number[i] > '9' {
			continue
		}
		digit := int(number[i] - '0')
		if count%2 == 1 {
			if digit *= 2; digit > 9 {
				digit -= 9
			}
		}
		sum += digit
		count++
	}
	return sum%10 == 0 && count >= 13
}

// ibanLengths are the lengths of IBANs by country.
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22,
	"CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22,
	"GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30,
	"KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20,
	"MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
	"RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26,
	"UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// Patterns of the countries of ibanLengths.
const (
	ibanCountries = `A[DELTZ]|B[AEGHIRY]|C[HRYZ]|D[EJKO]|E[EGS]|F[IKOR]|G[BEILRT]|H[NRU]|I[ELQST]|JO|K[WZ]|L[BCITUVY]|M[CDEKNRTU]|` +
		`N[ILO]|OM|P[KLST]|QA|R[OSU]|S[ACDEIKMOTV]|T[LNR]|UA|V[AG]|XK|YE`
	lowerIBANCountries = `a[deltz]|b[aeghiry]|c[hryz]|d[ejko]|e[egs]|f[ikor]|g[beilrt]|h[nru]|i[elqst]|jo|k[wz]|l[bcituvy]|m[cdeknrtu]|` +
		`n[ilo]|om|p[klst]|qa|r[osu]|s[acdeikmotv]|t[lnr]|ua|v[ag]|xk|ye`
)

// ibanBeginning matches the country and the check digits of an IBAN.
const ibanBeginning = `(?:` + ibanCountries + `|` + lowerIBANCountries + `)[0-9]{2}`

var ibanStart = regexp.MustCompile(ibanBeginning)

// findIBANs adds the IBANs in a run of letters and digits.
func findIBANs(w *checkWork, from, to int) {
	for at := from; at < to && w.candidates <= maxGuardCandidates; {
		w.candidates++
		place := ibanStart.FindStringIndex(w.text[at:to])
		if place == nil {
			return
		}
		at += place[0]
		end := ibanEnd(w.text, at, to)
		if end == 0 || !passesMod97(w.text[at:end]) {
			at++
			continue
		}
		addMatch(w, at, end)
		at = end
	}
}

// ibanEnd returns where an IBAN that begins in a run ends, by its country; 0: the run is too short.
func ibanEnd(text string, at, to int) int {
	left := ibanLengths[strings.ToUpper(text[at:at+2])]
	for ; at < to; at++ {
		if text[at] == ' ' || text[at] == '-' {
			continue
		}
		if left--; left == 0 {
			return at + 1
		}
	}
	return 0
}

// passesMod97 reports whether the check digits of an IBAN are right.
func passesMod97(iban string) bool {
	text := strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(iban))
	rest := 0
	for _, c := range text[4:] + text[:4] {
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return rest == 1
}
