package chatcompletion

import (
	"bytes"
	"encoding/json"
)

// openAIModel is an element of OpenAI's list of models, and the other two those of Anthropic's and
// Gemini's.
type openAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"` // unknown: 0
	OwnedBy string `json:"owned_by"`
}

type anthropicModel struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"` // unknown: the start of Unix time, as Anthropic documents it
}

type geminiModel struct {
	Name        string   `json:"name"`
	DisplayName string   `json:"displayName"`
	Methods     []string `json:"supportedGenerationMethods"`
}

// modelList is what is read of a list of models in any protocol: Gemini's has models, the others data.
// The last members lead to further pages.
type modelList struct {
	Object        string            `json:"object"`
	Data          []json.RawMessage `json:"data"`
	Models        []json.RawMessage `json:"models"`
	HasMore       bool              `json:"has_more"`
	FirstID       string            `json:"first_id"`
	LastID        string            `json:"last_id"`
	NextPageToken string            `json:"nextPageToken"`
}

// modelObject returns the JSON of a model that the configuration names, in a protocol.
func modelObject(p *policy, of *protocol, name string) []byte {
	switch of {
	case anthropicProtocol:
		return marshal(anthropicModel{Type: "model", ID: name, DisplayName: name, CreatedAt: "1970-01-01T00:00:00Z"})
	case geminiProtocol:
		return marshal(geminiModel{Name: resourceName(name), DisplayName: name, Methods: []string{string(generateContent), "countTokens"}})
	}
	return marshal(openAIModel{ID: name, Object: "model", OwnedBy: p.providers[0].endpoints[completions].target.Provider})
}

// parseModelList reads a provider's list, and reports whether it is one. Together sends a bare array,
// and Ollama null if it has no models. The elements are in Data.
func parseModelList(of *protocol, body []byte) (*modelList, bool) {
	list := &modelList{}
	var err error
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte{'['}) {
		err = json.Unmarshal(body, &list.Data)
	} else {
		err = json.Unmarshal(body, list)
	}
	isEmpty := err == nil && list.Object == "list"
	if of == geminiProtocol && list.Models != nil {
		list.Data = list.Models
	}
	return list, (list.Data != nil || isEmpty) && len(list.Data) <= modelListMax
}

// listedName returns the name of a model in a list of a protocol; "": it has none.
func listedName(of *protocol, element []byte) string {
	one := &modelResponse{}
	_ = json.Unmarshal(element, one) // only the name has to be of its type
	if of == geminiProtocol && one.ID == "" {
		return one.Name
	}
	return one.ID
}

// filteredList returns a list with the aliases, and without models that clients may not use. Members
// that the protocol does not define are left out, since they may be lists, too.
func filteredList(p *policy, of *protocol, list *modelList) []byte {
	var kept [][]byte
	seen := map[string]bool{}
	for _, element := range list.Data {
		if name := listedName(of, element); name != "" && isAllowed(p.models, name) {
			kept = append(kept, element)
			seen[name] = true
		}
	}
	for _, alias := range sortedKeys(p.models.aliases) {
		if !seen[alias] && matchesModel(p.models.consumers, p.models.aliases[alias]) {
			kept = append(kept, modelObject(p, of, alias))
		}
	}
	return listOf(of, kept, list)
}

// listOf returns the list of the given JSON objects in a protocol, on a page of a longer list.
func listOf(of *protocol, models [][]byte, page *modelList) []byte {
	start, end := `{"object":"list","data":[`, "]}"
	switch of {
	case anthropicProtocol:
		start = `{"data":[`
		end = `],"has_more":` + string(marshal(page.HasMore)) + `,"first_id":` + string(marshal(page.FirstID)) + `,"last_id":` + string(marshal(page.LastID)) + "}"
	case geminiProtocol:
		start = `{"models":[`
		if page.NextPageToken != "" {
			end = `],"nextPageToken":` + string(marshal(page.NextPageToken)) + "}"
		}
	}
	return append(append([]byte(start), bytes.Join(models, comma)...), end...)
}
