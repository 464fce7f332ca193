package chatcompletion

import (
	"regexp"
	"strings"
	"time"
)

// Defaults and bounds of Config.Cache.
const (
	defaultCacheTTL        = 5 * time.Minute
	defaultCacheMaxBytes   = 1 << 20
	defaultCacheMaxEntries = 1000

	minCacheTTL, maxCacheTTL = time.Second, 7 * 24 * time.Hour
	cacheTTLs                = "from 1s to 168h"
	maxCacheMaxBytes         = 64 << 20
	maxCacheMaxEntries       = 100000
)

// cachedKinds are the values of Cache.Routes.
var cachedKinds = []string{string(completions), string(embeddings), string(responses), string(messages), string(generateContent)}

// responseHeaders are the names of request headers that choose what a provider responds with, beside
// those that carry credentials.
const responseHeaders = `Accept|Accept-Language|(?:Anthropic|Openai|X-Goog|X-Openai|X-Portkey|X-Litellm|Helicone|Cf-Aig|X-Amzn-Bedrock|Azureml|Extra)-[^:]*`

// parseCache parses Config.Cache. It returns nil if there is none.
func parseCache(bad *problems, config *Config, p *policy) *responseCache {
	keys := &config.Cache
	if !isCacheConfigured(keys) {
		return nil
	}
	c := &responseCache{middleware: p.name, kinds: map[kind]bool{}, ttl: defaultCacheTTL}
	if ttl := parseDuration(bad, "cache.ttl", keys.TTL, minCacheTTL, maxCacheTTL, cacheTTLs); ttl > 0 {
		c.ttl = ttl
	}
	if c.scope = parseOneOf(bad, "cache.scope", keys.Scope, scopeConsumer, scopeGroup, scopeAll); c.scope == "" {
		c.scope = scopeConsumer
	}
	c.maxBytes = parseInteger(bad, "cache.maxBytes", keys.MaxBytes, defaultCacheMaxBytes, 1, maxCacheMaxBytes, "bytes")
	c.maxEntries = parseInteger(bad, "cache.maxEntries", keys.MaxEntries, defaultCacheMaxEntries, 1, maxCacheMaxEntries, "")
	c.isShared = parseOneOf(bad, "cache.store", keys.Store, storeInMemory, storeInRedis) == storeInRedis
	if c.isShared && p.redis == nil {
		bad.add("cache.store", `is %q, which requires "redis"`, storeInRedis)
	}
	parseCachedKinds(bad, keys.Routes, c)
	setCachedHeaders(bad, keys.Vary, p, c)
	return c
}

// isCacheConfigured reports whether any key has a value.
func isCacheConfigured(c *Cache) bool {
	return c.TTL != "" || c.Scope != "" || !isUnset(c.MaxBytes) || !isUnset(c.MaxEntries) || c.Store != "" || len(c.Routes) > 0 || len(c.Vary) > 0
}

// parseCachedKinds parses Cache.Routes.
func parseCachedKinds(bad *problems, routes []string, c *responseCache) {
	names := parseNames(routes)
	if len(names) == 0 {
		names = cachedKinds
	}
	for _, name := range names {
		if !containsText(cachedKinds, name) {
			bad.add("cache.routes", "must be some of %s, got %q", strings.Join(cachedKinds, ", "), shortened(name))
		}
		c.kinds[kind(name)] = true
		if name == string(generateContent) {
			c.kinds[streamGenerateContent] = true
			c.kinds[embedContent] = true
			c.kinds[batchEmbedContents] = true
		}
	}
}

// setCachedHeaders sets what selects the request headers that a key depends on: those that choose the
// response, those that carry credentials, and those that the configuration names. The others are left out
// by their names where these are common, since a pattern takes longer.
func setCachedHeaders(bad *problems, vary []string, p *policy, c *responseCache) {
	names := append([]string{"Proxy-Authorization", p.modelHeader}, clientCredentials...)
	for _, pr := range p.providers {
		for _, auth := range pr.auths {
			names = append(names, auth.header)
		}
	}
	for _, name := range parseNames(vary) {
		names = append(names, parseHeaderName(bad, "cache.vary", name))
	}
	c.ignoredHeaders = map[string]bool{}
	for _, name := range commonHeaders {
		c.ignoredHeaders[name] = true
	}
	pattern := responseHeaders
	for _, name := range names {
		pattern += "|" + regexp.QuoteMeta(name)
		delete(c.ignoredHeaders, name)
	}
	c.headerLines = regexp.MustCompile(`(?m)^(?:` + pattern + `):.*$`)
}

// commonHeaders are headers that many requests have, and no response depends on.
var commonHeaders = []string{
	"User-Agent", "Content-Type", "Content-Length", "Cache-Control", "Pragma", "Priority", "Origin", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
	"Traceparent", "Tracestate", "X-Request-Id", "X-Correlation-Id", "X-Real-Ip", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto",
	"X-Forwarded-Server", "X-Stainless-Arch", "X-Stainless-Async", "X-Stainless-Helper-Method", "X-Stainless-Lang", "X-Stainless-Os",
	"X-Stainless-Package-Version", "X-Stainless-Poll-Helper", "X-Stainless-Raw-Response", "X-Stainless-Read-Timeout", "X-Stainless-Retry-Count",
	"X-Stainless-Runtime", "X-Stainless-Runtime-Version", "X-Stainless-Timeout",
}
