// Command demo serves a small provider, with the protocols of OpenAI, Anthropic and Gemini, and logs what reaches it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modelroute/chatcompletion/e2e/demo"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on; port 0 picks a free one")
	interval := flag.Duration("interval", 100*time.Millisecond, "time between two events of a stream")
	chunks := flag.Int("chunks", 8, "number of content events of a stream")
	key := flag.String("key", "", "the only accepted API key; empty: all keys, or none")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, *listen, demo.Options{Interval: *interval, Chunks: *chunks, Key: *key, Log: os.Stderr})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// serve serves until ctx ends.
func serve(ctx context.Context, address string, options demo.Options) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: demo.Handler(options)}
	fmt.Printf("demo: serving http://%s/v1/chat/completions, /v1/messages, /v1beta/models and more\n", listener.Addr())
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
