package agent

import (
	"math/rand"
	"strings"
)

var words = strings.Fields(`the a gateway model prompt answer of in to and with for that which
	request token policy route stream user operator cost key limit provider region error retry
	reads writes sends keeps counts refuses forwards small large quick exact open bounded`)

// Prose returns text of about the encoded size: paragraphs of sentences, some of them in quotes.
func Prose(random *rand.Rand, size int) string {
	var text strings.Builder
	for encoded := 0; encoded < size; {
		sentence := strings.Join(Pick(random, 6+random.Intn(12)), " ") + ". "
		switch random.Intn(8) {
		case 0:
			sentence = `"` + strings.TrimSpace(sentence) + `" `
			encoded += 2 // the quotes' escapes
		case 1:
			sentence += "\n\n"
			encoded += 2
		}
		encoded += len(sentence)
		text.WriteString(sentence)
	}
	return text.String()
}

// Pick returns random words.
func Pick(random *rand.Rand, count int) []string {
	picked := make([]string, count)
	for i := range picked {
		picked[i] = words[random.Intn(len(words))]
	}
	return picked
}
