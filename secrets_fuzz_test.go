package chatcompletion

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// FuzzSecretAPIResponse reads arbitrary responses of an API server: a key is a valid header value and the one in the Secret,
// and the text of a problem contains no value of the Secret.
func FuzzSecretAPIResponse(f *testing.F) {
	for _, response := range []string{
		`{"kind":"Secret","data":{"token":"c2stc2VjcmV0LW9mLXRoZS1wcm92aWRlcg=="}}`, `{"kind":"Secret","data":{"token":"c2stc2VjcmV0Cg=="}}`, `{"kind":"Secret","data":{"token":"not base64 at all"}}`,
		`{"kind":"Secret","data":{"token":"AAECAwQFBgcICQ=="}}`, `{"kind":"Secret","data":{"token":""}}`, `{"kind":"Secret","data":{}}`, `{"kind":"Secret"}`, `{"kind":"Status","data":{"token":"c2stc2VjcmV0"}}`,
		`{"kind":"Secret","data":{"other":"c2stc2VjcmV0LW9mLXRoZS1wcm92aWRlcg=="}}`, `{"kind":"Secret","stringData":{"token":"c2stc2VjcmV0"}}`, `{"kind":"Secret","data":{"token":["c2stc2VjcmV0"]}}`,
		`{"kind":"Secret","data":{"token":null}}`, `{"kind":"Secret","data":null}`, `null`, `[]`, ``, `{"kind":"SecretList","items":[]}`, `{"Kind":"Secret","Data":{"token":"c2stc2VjcmV0"}}`,
		`{"kind":"Secret","data":{"token":"c2stc2VjcmV0LW9m\nLXRoZS1wcm92aWRlcg=="}}`, `{"kind":"Secret","data":{"token":"c2stc2VjcmV0LW9mLXRoZS1wcm92aWRlcg"}}`,
	} {
		f.Add([]byte(response))
	}
	api := &kubernetesAPI{url: "https://kubernetes.default.svc"}
	reference := secretReference{namespace: "ai", name: "keys", key: "token"}
	f.Fuzz(func(t *testing.T, response []byte) {
		key, problem := readSecret(api, reference, response)
		if problem == nil {
			if key == "" || strings.ContainsAny(key, controlCharacters) || strings.TrimSpace(key) != key || len(key) > secretMaxBytes {
				t.Errorf("key %q, want a valid header value", key)
			}
			if !json.Valid(response) {
				t.Errorf("key from %q, want an error for invalid JSON", response)
			}
			text := gjson.GetBytes(response, "data.token")
			if decoded := decodedText(text.String()); text.Exists() && namesOnce(response, "data", "token") && strings.TrimSpace(decoded) != key {
				t.Errorf("key %q, want %q from the Secret", key, decoded)
			}
			return
		}
		if len(problem.text) > 1000 {
			t.Errorf("problem of %d bytes, want at most 1000", len(problem.text))
		}
		names := ""
		gjson.GetBytes(response, "data").ForEach(func(name, _ gjson.Result) bool { names += name.String() + " "; return true })
		gjson.GetBytes(response, "data").ForEach(func(_, value gjson.Result) bool {
			for _, secret := range []string{value.String(), decodedText(value.String())} {
				if len(secret) > 12 && !strings.Contains(names, secret) && !strings.Contains(reference.name+api.url, secret) && strings.Contains(problem.text, secret) {
					t.Errorf("problem %q, want it without the value %q", problem.text, secret)
				}
			}
			return true
		})
	})
}

// namesOnce reports whether each name occurs at most once, in any case, so that all parsers find the same member.
func namesOnce(response []byte, names ...string) bool {
	text := strings.ToLower(string(response))
	for _, name := range names {
		if strings.Count(text, name+`"`) > 1 {
			return false
		}
	}
	return !strings.Contains(text, `\u`)
}

func decodedText(encoded string) string {
	decoded, _ := base64.StdEncoding.DecodeString(encoded)
	return string(decoded)
}
