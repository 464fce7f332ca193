package gateway

import "cmp"

const (
	// PluginKey is the plugin's key in Traefik's configuration.
	PluginKey = "chat-completion"

	// Module is the plugin's Go module path.
	Module = "github.com/modelroute/chatcompletion"

	staticFile    = "traefik.yml"
	dynamicFile   = "dynamic.yml"
	accessLogFile = "access.log"
)

// staticConfiguration returns a configuration that serves routers on the entry point web, and
// Traefik's API, ping and pprof on traefik.
func staticConfiguration(options Options, web, api string) map[string]any {
	level := options.LogLevel
	if level == "" {
		level = "INFO"
	}
	static := map[string]any{
		"global": map[string]any{"checkNewVersion": false, "sendAnonymousUsage": false},
		"entryPoints": map[string]any{
			"web":     entryPoint(web, options),
			"traefik": entryPoint(api, Options{}),
		},
		"api":  map[string]any{"insecure": true, "dashboard": false, "debug": true},
		"ping": map[string]any{},
		"log":  map[string]any{"level": level, "format": "json"},
		"providers": map[string]any{
			"providersThrottleDuration": "50ms",
			"file":                      map[string]any{"filename": dynamicFile, "watch": true},
		},
		"experimental": map[string]any{
			"abortOnPluginFailure": true,
			"localPlugins":         map[string]any{PluginKey: map[string]any{"moduleName": Module}},
		},
	}
	if options.AccessLog {
		static["accessLog"] = accessLog(options.AccessLogHeaders)
	}
	merge(static, options.Static)
	return static
}

// merge adds values to the document and to its sections.
func merge(document, added map[string]any) {
	for key, value := range added {
		own, isSection := document[key].(map[string]any)
		more, addsTo := value.(map[string]any)
		if isSection && addsTo {
			merge(own, more)
		} else {
			document[key] = value
		}
	}
}

func accessLog(kept []string) map[string]any {
	headers := map[string]any{"defaultMode": "drop"}
	if len(kept) > 0 { // Traefik rejects an empty map
		names := map[string]string{}
		for _, name := range kept {
			names[name] = "keep"
		}
		headers["names"] = names
	}
	return map[string]any{
		"filePath": accessLogFile,
		"format":   "json",
		"fields":   map[string]any{"headers": headers},
	}
}

// entryPoint returns an entry point with a short grace timeout by default, so that the process ends
// quickly.
func entryPoint(address string, options Options) map[string]any {
	timeouts := map[string]any{}
	if options.ReadTimeout != "" {
		timeouts["readTimeout"] = options.ReadTimeout
	}
	if options.WriteTimeout != "" {
		timeouts["writeTimeout"] = options.WriteTimeout
	}
	transport := map[string]any{"lifeCycle": map[string]any{"graceTimeOut": cmp.Or(options.GraceTimeout, "1s")}}
	if len(timeouts) > 0 { // Traefik rejects an empty map
		transport["respondingTimeouts"] = timeouts
	}
	return map[string]any{"address": address, "transport": transport}
}
