package chatcompletion

import (
	"fmt"
	"runtime"
	"testing"
)

// TestRedisSettings checks that keys have the types and the defaults of redis in Traefik's RateLimit, also as text.
func TestRedisSettings(t *testing.T) {
	perCPU := 10 * runtime.GOMAXPROCS(0)
	tests := []struct {
		config Redis
		want   string
	}{
		{Redis{OnError: "local"}, fmt.Sprintf("localhost:6379 db 0, %d connections, 0 idle, 5s 3s 3s, local, chat-completion:", perCPU)},
		{Redis{Endpoints: []string{" redis:6380 "}, DB: "2", PoolSize: "5", MinIdleConns: "2", DialTimeout: "1s", ReadTimeout: "250ms", WriteTimeout: "2"},
			"redis:6380 db 2, 5 connections, 2 idle, 1s 250ms 2s, local, chat-completion:"},
		{Redis{Endpoints: []string{"[::1]:6379"}, DB: 1.0, PoolSize: 20.0, MaxActiveConns: 7.0, MinIdleConns: 9.0, OnError: "deny", KeyPrefix: "ai"},
			"[::1]:6379 db 1, 7 connections, 7 idle, 5s 3s 3s, deny, ai:"},
		{Redis{DB: "0", PoolSize: 0.0, KeyPrefix: "{ai}"}, fmt.Sprintf("localhost:6379 db 0, %d connections, 0 idle, 5s 3s 3s, local, {ai}:", perCPU)},
	}
	for _, test := range tests {
		bad := &problems{}
		s := parseRedis(bad, &test.config, &secretSettings{})
		if len(bad.found) > 0 || s == nil {
			t.Errorf("%+v: %q", test.config, bad.found)
			continue
		}
		got := fmt.Sprintf("%s db %d, %d connections, %d idle, %s %s %s, %s, %s", s.endpoint, s.db, s.poolSize, s.minIdle,
			s.dialTimeout, s.readTimeout, s.writeTimeout, s.onError, s.keyPrefix)
		if got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
	if got := parseRedis(&problems{}, &Redis{}, &secretSettings{}); got != nil {
		t.Errorf("without a key: got %+v, want none", got)
	}
}

// TestRedisSettingsHaveKeys checks that settings that differ in anything have different keys, and so different connections.
func TestRedisSettingsHaveKeys(t *testing.T) {
	seen := map[string]int{}
	for i, config := range []Redis{
		{DB: 1}, {DB: 2}, {DB: 1, Password: "a"}, {DB: 1, Password: "b"}, {DB: 1, Password: "b", Username: "u"}, {DB: 1, Password: "urn:file:/a"},
		{DB: 1, Password: "urn:file:/b"}, {DB: 1, OnError: "deny"}, {DB: 1, KeyPrefix: "x"}, {DB: 1, ReadTimeout: "1s"}, {DB: 1, PoolSize: 3},
		{DB: 1, TLS: RedisTLS{Enabled: true}}, {DB: 1, TLS: RedisTLS{InsecureSkipVerify: true}}, {Endpoints: []string{"redis:6379"}, DB: 1},
		{DB: 1, WriteTimeout: "1s"}, {DB: 1, DialTimeout: "1s"}, {DB: 1, MinIdleConns: 1},
	} {
		bad := &problems{}
		s := parseRedis(bad, &config, &secretSettings{})
		if other, is := seen[s.key]; is || len(bad.found) > 0 {
			t.Errorf("configurations %d and %d have one key %q", other, i, bad.found)
		}
		seen[s.key] = i
	}
}
