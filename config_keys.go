package chatcompletion

import (
	"fmt"
	"sort"
	"strings"
)

// Keys of the configuration, as users write them.
var (
	topKeys = []string{
		"token", "model", "allowModelOverride", "params", "allowParamsOverride", "limits", "dropParams", "allowedModels",
		"modelAliases", "modelPattern", "modelHeader", "routes", "path", "authHeader", "maxRequestBodySize", "mode",
	}
	paramsKeys = []string{
		"temperature", "topP", "maxTokens", "maxCompletionTokens", "frequencyPenalty", "presencePenalty", "extra",
	}
	limitsKeys = []string{
		"temperature", "topP", "maxTokens", "maxCompletionTokens", "frequencyPenalty", "presencePenalty", "n",
	}
	authHeaderKeys = []string{"name", "prefix"}
)

// checkUnknown finds the keys that no field took: Traefik itself would drop a typo without a word.
func checkUnknown(bad *problems, config *Config) {
	checkUnknownKeys(bad, "", config.Unknown, topKeys)
	checkUnknownKeys(bad, "params.", config.Params.Unknown, paramsKeys)
	checkUnknownKeys(bad, "limits.", config.Limits.Unknown, limitsKeys)
	checkUnknownKeys(bad, "authHeader.", config.AuthHeader.Unknown, authHeaderKeys)
}

func checkUnknownKeys(bad *problems, path string, unknown map[string]any, known []string) {
	keys := make([]string, 0, len(unknown))
	for key := range unknown {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		problem := fmt.Sprintf("unknown key %q", path+key)
		nearest, distance := "", len(key)/2+1
		for _, candidate := range known {
			if d := editDistance(strings.ToLower(key), strings.ToLower(candidate)); d < distance {
				nearest, distance = candidate, d
			}
		}
		switch {
		case nearest != "" && distance == 0:
			problem = fmt.Sprintf("key %q is given twice", path+nearest)
		case nearest != "":
			problem += fmt.Sprintf("; did you mean %q?", path+nearest)
		}
		bad.found = append(bad.found, problem)
	}
}

// editDistance returns how many bytes have to be inserted, removed or replaced to make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			distance := diagonal
			if a[i-1] != b[j-1] {
				distance++
			}
			if row[j]+1 < distance {
				distance = row[j] + 1
			}
			if row[j-1]+1 < distance {
				distance = row[j-1] + 1
			}
			diagonal = row[j]
			row[j] = distance
		}
	}
	return row[len(b)]
}
