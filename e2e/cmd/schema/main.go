// Command schema writes the JSON Schema of the plugin's configuration, docs/chat-completion.schema.json, from
// the type Config and its comments. It implements `make schema`.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/e2e/jsonschema"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "schema:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := gateway.Root()
	if err != nil {
		return err
	}
	schema, err := jsonschema.Generate(root)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, filepath.FromSlash(jsonschema.File)), schema, 0o644)
}
