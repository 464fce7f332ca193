package chatcompletion

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// parseRedis parses Config.Redis. It returns nil if there is none.
func parseRedis(bad *problems, config *Redis, secrets *secretSettings) *redisSettings {
	if !isRedisConfigured(config) {
		return nil
	}
	s := &redisSettings{endpoint: parseRedisEndpoint(bad, config.Endpoints)}
	const consequence = "Redis is not used"
	var problem string
	if s.username, problem = newCredential("redis.username", consequence, config.Username, "", "", secrets); problem != "" {
		bad.add("redis.username", "%s", problem)
	}
	if s.password, problem = newCredential("redis.password", consequence, config.Password, "", "", secrets); problem != "" {
		bad.add("redis.password", "%s", problem)
	}
	if s.username != nil && s.password == nil {
		bad.add("redis.username", `has no effect without "redis.password"`)
	}
	s.db = parseInteger(bad, "redis.db", config.DB, 0, 0, maxRedisDB, "")
	s.poolSize = parseInteger(bad, "redis.poolSize", config.PoolSize, 0, 0, maxRedisConnections, "")
	if s.poolSize == 0 {
		s.poolSize = redisConnectionsPerCPU * runtime.GOMAXPROCS(0)
	}
	if most := parseInteger(bad, "redis.maxActiveConns", config.MaxActiveConns, 0, 0, maxRedisConnections, ""); most > 0 && most < s.poolSize {
		s.poolSize = most
	}
	s.minIdle = parseInteger(bad, "redis.minIdleConns", config.MinIdleConns, 0, 0, maxRedisConnections, "")
	if s.minIdle > s.poolSize {
		s.minIdle = s.poolSize
	}
	s.dialTimeout = parseRedisTimeout(bad, "redis.dialTimeout", config.DialTimeout, defaultRedisDialTimeout)
	s.readTimeout = parseRedisTimeout(bad, "redis.readTimeout", config.ReadTimeout, defaultRedisTimeout)
	s.writeTimeout = parseRedisTimeout(bad, "redis.writeTimeout", config.WriteTimeout, defaultRedisTimeout)
	certificates := parseRedisTLS(bad, s, &config.TLS)
	s.onError = parseOneOf(bad, "redis.onError", config.OnError, onErrorLocal, onErrorDeny, onErrorAllow)
	if s.onError == "" {
		s.onError = onErrorLocal
	}
	s.keyPrefix = parseKeyPrefix(bad, config.KeyPrefix)
	s.key = redisKey(s, certificates)
	return s
}

// Defaults and bounds of Config.Redis. The defaults are those of Traefik's RateLimit.
const (
	defaultRedisEndpoint    = "localhost:6379"
	defaultRedisDialTimeout = 5 * time.Second
	defaultRedisTimeout     = 3 * time.Second
	defaultKeyPrefix        = "chat-completion"
	redisConnectionsPerCPU  = 10

	maxRedisDB          = 1 << 20
	maxRedisConnections = 10000
	keyPrefixMaxBytes   = 64

	minRedisTimeout, maxRedisTimeout = time.Millisecond, time.Minute
	redisTimeouts                    = "from 1ms to 1m"
)

// isRedisConfigured reports whether any key has a value.
func isRedisConfigured(c *Redis) bool {
	return len(c.Endpoints) > 0 || c.Username != "" || c.Password != "" || !isUnset(c.DB) || !isUnset(c.PoolSize) || !isUnset(c.MinIdleConns) ||
		!isUnset(c.MaxActiveConns) || c.ReadTimeout != "" || c.WriteTimeout != "" || c.DialTimeout != "" || !isUnset(c.TLS.Enabled) || hasRedisTLS(&c.TLS) || c.OnError != "" ||
		c.KeyPrefix != ""
}

// hasRedisTLS reports whether any key but enabled has a value.
func hasRedisTLS(c *RedisTLS) bool {
	return c.CA != "" || c.Cert != "" || c.Key != "" || !isUnset(c.InsecureSkipVerify)
}

// parseRedisEndpoint parses Redis.Endpoints.
func parseRedisEndpoint(bad *problems, endpoints []string) string {
	endpoints = parseNames(endpoints)
	if len(endpoints) == 0 {
		return defaultRedisEndpoint
	}
	if len(endpoints) > 1 {
		bad.add("redis.endpoints", "must be one endpoint, got %d; Redis Cluster and Sentinel are not supported", len(endpoints))
	}
	host, port, err := net.SplitHostPort(endpoints[0])
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || number == 0 || (!hostName.MatchString(host) && net.ParseIP(host) == nil) {
		bad.add("redis.endpoints", "must be host:port, such as redis:6379") // not repeated: a URL may contain a password
	}
	return endpoints[0]
}

// parseRedisTimeout parses a timeout. As in Traefik's RateLimit, a number without a unit is one of
// seconds.
func parseRedisTimeout(bad *problems, key, text string, byDefault time.Duration) time.Duration {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseUint(text, 10, 16); err == nil {
		if seconds == 0 {
			bad.add(key, "must not be 0: no request may wait without an end")
			return byDefault
		}
		text += "s"
	}
	if d := parseDuration(bad, key, text, minRedisTimeout, maxRedisTimeout, redisTimeouts); d > 0 {
		return d
	}
	return byDefault
}

// parseKeyPrefix parses Redis.KeyPrefix.
func parseKeyPrefix(bad *problems, prefix string) string {
	if prefix == "" {
		prefix = defaultKeyPrefix
	}
	if len(prefix) > keyPrefixMaxBytes || strings.ContainsAny(prefix, " "+controlCharacters) {
		bad.add("redis.keyPrefix", "must have at most %d bytes, and no spaces or control characters", keyPrefixMaxBytes)
	}
	return prefix + ":"
}

// parseRedisTLS parses Redis.TLS. It returns the certificates and the key.
func parseRedisTLS(bad *problems, s *redisSettings, config *RedisTLS) string {
	if !parseBool(bad, "redis.tls.enabled", config.Enabled, hasRedisTLS(config)) {
		if hasRedisTLS(config) {
			bad.add("redis.tls.enabled", "must not be false beside other keys of redis.tls")
		}
		return ""
	}
	host, _, _ := net.SplitHostPort(s.endpoint)
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	s.tls.InsecureSkipVerify = parseBool(bad, "redis.tls.insecureSkipVerify", config.InsecureSkipVerify, false)
	ca := pathOrContent(bad, "redis.tls.ca", config.CA)
	if ca != "" {
		s.tls.RootCAs = x509.NewCertPool()
		if !s.tls.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			bad.add("redis.tls.ca", "contains no PEM certificate")
		}
	}
	cert, key := pathOrContent(bad, "redis.tls.cert", config.Cert), pathOrContent(bad, "redis.tls.key", config.Key)
	if cert != "" || key != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			bad.add("redis.tls.cert", `and "redis.tls.key" must be a PEM certificate and its key`) // without err, which may quote them
		}
		s.tls.Certificates = []tls.Certificate{pair}
	}
	return ca + "\x00" + cert + "\x00" + key
}

// pathOrContent returns the PEM text that a key holds, or that is in the file that it names.
func pathOrContent(bad *problems, key, value string) string {
	if block, _ := pem.Decode([]byte(value)); block != nil || value == "" {
		return value
	}
	path := parseAbsolutePath(bad, key, value)
	content, err := os.ReadFile(path)
	if err != nil {
		bad.add(key, "must be PEM text, or the absolute path of a file that can be read")
	}
	return string(content)
}

// redisKey returns a key that is equal for equal settings only.
func redisKey(s *redisSettings, certificates string) string {
	parts := []string{s.endpoint, strconv.Itoa(s.db), strconv.Itoa(s.poolSize), strconv.Itoa(s.minIdle), s.dialTimeout.String(),
		s.readTimeout.String(), s.writeTimeout.String(), s.onError, s.keyPrefix, certificates}
	if s.tls != nil {
		parts = append(parts, "tls", strconv.FormatBool(s.tls.InsecureSkipVerify))
	}
	for _, cred := range []*credential{s.username, s.password} {
		if cred == nil {
			parts = append(parts, "")
			continue
		}
		parts = append(parts, cred.value)
		if cred.source != nil {
			parts = append(parts, cred.source.id)
		}
	}
	return strings.Join(parts, "\x00")
}
