// Command page writes the page of the dashboard, sink_dashboard_page.go, from the files in the
// folder dashboard. It implements `make page`.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/internal/dashboardpage"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := gateway.Root()
	if err != nil {
		return err
	}
	page, err := dashboardpage.Build(os.DirFS(filepath.Join(root, "dashboard")))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, dashboardpage.File), dashboardpage.Source(page), 0o644)
}
