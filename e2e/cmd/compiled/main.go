// Command compiled is a Traefik with the plugin compiled in instead of interpreted, for `make
// bench`. Router, proxy, configuration files and the position of the middleware are the same; the
// difference in cost to a regular Traefik is the cost of the interpreter. It serves HTTP from the
// file provider, and Traefik's API and ping, nothing else.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/mitchellh/mapstructure"
	"github.com/rs/zerolog"
	"github.com/rs/zerolog/log"
	"github.com/traefik/paerser/cli"
	"github.com/traefik/traefik/v3/cmd"
	tcli "github.com/traefik/traefik/v3/pkg/cli"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/config/runtime"
	"github.com/traefik/traefik/v3/pkg/config/static"
	"github.com/traefik/traefik/v3/pkg/observability/metrics"
	"github.com/traefik/traefik/v3/pkg/plugins"
	"github.com/traefik/traefik/v3/pkg/provider/aggregator"
	"github.com/traefik/traefik/v3/pkg/provider/traefik"
	"github.com/traefik/traefik/v3/pkg/proxy/httputil"
	"github.com/traefik/traefik/v3/pkg/safe"
	"github.com/traefik/traefik/v3/pkg/server"
	"github.com/traefik/traefik/v3/pkg/server/middleware"
	"github.com/traefik/traefik/v3/pkg/server/service"
	"github.com/traefik/traefik/v3/pkg/tcp"
	"github.com/traefik/traefik/v3/pkg/tls"

	"github.com/modelroute/chatcompletion"
)

func main() {
	configuration := cmd.NewTraefikConfiguration()
	err := cli.Execute(&cli.Command{
		Name:          "compiled",
		Description:   "Traefik with the plugin compiled.",
		Configuration: configuration,
		Resources:     []cli.ResourceLoader{&tcli.FileLoader{}, &tcli.FlagLoader{}},
		Run:           func([]string) error { return serve(&configuration.Configuration) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "compiled:", err)
		os.Exit(1)
	}
}

func serve(configuration *static.Configuration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	zerolog.SetGlobalLevel(zerolog.InfoLevel) // the level that package gateway configures by default
	zerolog.DefaultContextLogger = &log.Logger

	configuration.SetEffectiveConfiguration()
	if err := configuration.ValidateConfiguration(); err != nil {
		return err
	}
	traefik, err := newServer(ctx, configuration)
	if err != nil {
		return err
	}
	configuration.Ping.WithContext(ctx)
	traefik.Start(ctx)
	defer traefik.Close()
	traefik.Wait()
	return nil
}

// newServer assembles the parts of Traefik that the configuration needs, as Traefik's own command
// does.
func newServer(ctx context.Context, configuration *static.Configuration) (*server.Server, error) {
	pool := safe.NewPool(ctx)
	providers := aggregator.NewProviderAggregator(*configuration.Providers)
	if err := providers.AddProvider(traefik.New(*configuration)); err != nil {
		return nil, err
	}
	registry := metrics.NewMultiRegistry(nil)
	observability := middleware.NewObservabilityMgr(*configuration, registry, nil, nil, nil, nil)
	entryPoints, err := server.NewTCPEntryPoints(configuration.EntryPoints, configuration.HostResolver, registry)
	if err != nil {
		return nil, err
	}
	certificates := tls.NewManager(nil)
	transports := service.NewTransportManager(nil)
	proxies := httputil.NewProxyBuilder(transports, nil)
	dialers := tcp.NewDialerManager(nil)
	services := service.NewManagerFactory(*configuration, pool, observability, transports, proxies, nil)
	routers, err := server.NewRouterFactory(*configuration, services, certificates, observability, &builder{}, dialers)
	if err != nil {
		return nil, err
	}
	watcher := server.NewConfigurationWatcher(pool, providers, defaultEntryPoints(configuration), "internal")
	watcher.AddListener(func(changed dynamic.Configuration) {
		certificates.UpdateConfigs(ctx, changed.TLS.Stores, changed.TLS.Options, changed.TLS.Certificates)
		transports.Update(changed.HTTP.ServersTransports)
		proxies.Update(changed.HTTP.ServersTransports)
		dialers.Update(changed.TCP.ServersTransports)
	})
	watcher.AddListener(func(changed dynamic.Configuration) {
		handlers, _ := routers.CreateRouters(runtime.NewConfig(changed))
		entryPoints.Switch(handlers)
	})
	return server.NewServer(pool, entryPoints, server.UDPEntryPoints{}, watcher, observability), nil
}

// defaultEntryPoints returns the entry points of routers that name none: all except that of
// Traefik's API.
func defaultEntryPoints(configuration *static.Configuration) []string {
	var names []string
	for name := range configuration.EntryPoints {
		if name != static.DefaultInternalEntryPointName {
			names = append(names, name)
		}
	}
	return names
}

// builder builds middlewares of the compiled plugin, regardless of the key in the configuration.
type builder struct{}

// Build decodes the configuration as Traefik does for an interpreted plugin.
func (*builder) Build(_ string, settings map[string]any, name string) (plugins.Constructor, error) {
	config := chatcompletion.CreateConfig()
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:           config,
		WeaklyTypedInput: true,
		DecodeHook:       mapstructure.StringToSliceHookFunc(","),
	})
	if err != nil {
		return nil, err
	}
	if err := decoder.Decode(settings); err != nil {
		return nil, err
	}
	return func(ctx context.Context, next http.Handler) (http.Handler, error) {
		return chatcompletion.New(ctx, next, config, name)
	}, nil
}
