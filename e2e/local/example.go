package local

import (
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// exampleConfiguration returns the static configuration of the example, listening on the address.
// It refers to the example's own dynamic file, so that a developer can edit it while Traefik runs.
func exampleConfiguration(example, address string) (map[string]any, error) {
	path := filepath.Join(example, "traefik.yml")
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var static map[string]any
	if err := yaml.Unmarshal(content, &static); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := set(static, address, "entryPoints", "web", "address"); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := set(static, filepath.Join(example, "dynamic.yml"), "providers", "file", "filename"); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return static, nil
}

// set replaces the value at the path of keys, which must exist.
func set(document map[string]any, value any, keys ...string) error {
	for i, key := range keys[:len(keys)-1] {
		inner, ok := document[key].(map[string]any)
		if !ok {
			return fmt.Errorf("no %v", keys[:i+1])
		}
		document = inner
	}
	document[keys[len(keys)-1]] = value
	return nil
}
