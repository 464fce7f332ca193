package demo

import "encoding/json"

// example returns a JSON text that satisfies a simple JSON schema: type, properties, items, enum,
// const and the first branch of anyOf. Any other schema yields null.
func example(schema json.RawMessage) string {
	var parsed any
	_ = json.Unmarshal(schema, &parsed) // no schema yields null
	return encoded(exampleValue(parsed))
}

func exampleValue(schema any) any {
	s, ok := schema.(map[string]any)
	if !ok {
		return nil
	}
	if value, ok := s["const"]; ok {
		return value
	}
	for _, key := range []string{"enum", "anyOf"} {
		choices, _ := s[key].([]any)
		if len(choices) == 0 {
			continue
		}
		if key == "enum" {
			return choices[0]
		}
		return exampleValue(choices[0])
	}
	switch schemaType(s["type"]) {
	case "object":
		properties, _ := s["properties"].(map[string]any)
		object := map[string]any{}
		for name, property := range properties {
			object[name] = exampleValue(property)
		}
		return object
	case "array":
		return []any{exampleValue(s["items"])}
	case "string":
		return "demo"
	case "integer":
		return 1
	case "number":
		return 0.5
	case "boolean":
		return true
	}
	return nil
}

// schemaType returns the type, or the first of a list of types.
func schemaType(value any) any {
	if list, ok := value.([]any); ok && len(list) > 0 {
		return list[0]
	}
	return value
}
