// Command build builds programs, and says how far it is. With the argument traefik, it implements
// `make traefik`: it leaves a Traefik with the plugin compiled in at .bin/traefik. With the argument
// e2e or kubernetes, it builds what the end-to-end tests of that kind need, since the go command
// shows nothing that tests write before they have ended.
//
// Environment: TRAEFIK_VERSION, and the variables that name programs instead.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

// run builds, writes what there is to know about the result to out, and the progress to log.
func run(ctx context.Context, out, log io.Writer, arguments []string) error {
	if len(arguments) != 1 {
		return errors.New("want one argument: traefik, e2e or kubernetes")
	}
	switch arguments[0] {
	case "traefik":
		return traefik(ctx, out, log)
	case "e2e":
		return backends.Build(ctx, log, backends.Programs)
	case "kubernetes":
		return backends.Build(ctx, log, backends.KubernetesPrograms)
	default:
		return fmt.Errorf("unknown argument %q, want traefik, e2e or kubernetes", arguments[0])
	}
}

func traefik(ctx context.Context, out, log io.Writer) error {
	binary, err := gateway.Compiled(ctx, log)
	if err != nil {
		return err
	}
	version, err := gateway.Version(ctx, binary)
	if err != nil {
		return err
	}
	name := binary
	if root, err := gateway.Root(); err == nil {
		if relative, err := filepath.Rel(root, binary); err == nil {
			name = relative
		}
	}
	_, err = fmt.Fprintf(out, "%s\n%s\n", name, strings.TrimSpace(version))
	return err
}
