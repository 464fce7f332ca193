package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Root returns the root folder of this repository, searching upwards from the working directory.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "e2e", "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("%s is outside the repository: run from the repository's e2e folder", start)
		}
	}
}

// InstallPlugin copies the files that the plugin catalog would ship from the source folder to the
// local-plugin folder of a Traefik with that working directory.
func InstallPlugin(workingDirectory, source string) error {
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no Go files in the plugin's folder %s", source)
	}
	files = append(files, filepath.Join(source, ".traefik.yml"), filepath.Join(source, "go.mod"))

	target := filepath.Join(workingDirectory, "plugins-local", "src", filepath.FromSlash(Module))
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	var problems []error
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		problems = append(problems, copyFile(filepath.Join(target, filepath.Base(file)), file))
	}
	return errors.Join(problems...)
}

func copyFile(target, source string) error {
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	return os.WriteFile(target, content, 0o600)
}
