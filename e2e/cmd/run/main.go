// Command run implements `make run`: it runs a real Traefik with this repository's plugin and the
// configuration in examples/local. The provider is the demo provider, or the one that UPSTREAM
// names. With DEMO=1, it also makes the traffic of three teams. An interrupt stops everything that it
// started.
//
// Environment: PORT (default 8000), DEMO, UPSTREAM, MODEL, DEMO_API_KEY, TRAEFIK, TRAEFIK_VERSION, GATEWAY.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/modelroute/chatcompletion/e2e/local"
	"github.com/modelroute/chatcompletion/e2e/traffic"
)

// streamInterval slows the demo provider's streams down, so that a reader sees them grow.
const streamInterval = 150 * time.Millisecond

// trafficRate is the mean number of calls per second of all teams together.
const trafficRate = 4

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && !interrupted {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It writes the instructions and the demo provider's log to out.
func run(ctx context.Context, out io.Writer) (err error) {
	options := local.Options{
		Address:     net.JoinHostPort("127.0.0.1", setting("PORT", "8000")),
		Upstream:    os.Getenv("UPSTREAM"),
		Key:         setting("DEMO_API_KEY", "sk-demo-key-of-the-provider"),
		Interval:    streamInterval,
		ProviderLog: out,
	}
	withTraffic, err := wantsTraffic(options.Upstream)
	if err != nil {
		return err
	}
	if withTraffic {
		options.ProviderLog = nil // which would fill the terminal
	}
	example, err := local.Start(ctx, out, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, example.Stop()) }()
	if _, err := io.WriteString(out, welcome(example, withTraffic)); err != nil {
		return err
	}
	ended := make(chan error, 1)
	if withTraffic {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { ended <- makeTraffic(ctx, example) }()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	case <-example.Done():
		return errors.New(example.Failure("traefik exited unexpectedly"))
	}
}

// wantsTraffic reports whether DEMO asks for the traffic of the three teams. It is for the demo
// provider only, since it would cost money elsewhere.
func wantsTraffic(upstream string) (bool, error) {
	text := setting("DEMO", "0")
	wanted, err := strconv.ParseBool(text)
	switch {
	case err != nil:
		return false, fmt.Errorf("DEMO=%s: must be 1 or 0", text)
	case wanted && upstream != "":
		return false, errors.New("DEMO=1 makes traffic for the demo provider only: unset UPSTREAM, or run e2e/cmd/traffic yourself")
	}
	return wanted, nil
}

// makeTraffic makes the calls of the three teams until ctx ends.
func makeTraffic(ctx context.Context, example *local.Example) error {
	_, err := traffic.Run(ctx, traffic.Options{
		Base: example.URL + local.CompanyPath, Rate: trafficRate, Seed: time.Now().UnixNano(), Realistic: true,
	})
	return err
}

// setting returns the environment variable, or the fallback if it is empty.
func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
