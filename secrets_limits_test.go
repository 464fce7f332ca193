package chatcompletion

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestKubernetesMiddlewareReadsNoForeignSecret has a tenant's Middleware refer to a Secret of another namespace in forms that
// Traefik itself does not resolve.
func TestKubernetesMiddlewareReadsNoForeignSecret(t *testing.T) {
	for _, token := range []string{" urn:k8s:secret:kube-system/admin:key", "urn:k8s:secret:admin:key"} {
		config := CreateConfig()
		config.Token = token
		config.Secrets = Secrets{Endpoint: "https://k", Namespace: "traefik"}
		if _, err := newPolicy(config, "tenant-chat@kubernetescrd"); err == nil || !strings.Contains(err.Error(), "token: contains a urn:k8s:secret reference") {
			t.Errorf("%q: error %v, want one for the reference", token, err)
		}
		if _, err := newPolicy(config, "chat@file"); err != nil {
			t.Errorf("%q in a file: error %v, want none", token, err)
		}
	}
}

// TestHangingLookUpBlocksNoRequest starts a look-up that does not end, such as for a file on an unavailable disk.
func TestHangingLookUpBlocksNoRequest(t *testing.T) {
	api := newTestAPI(t)
	settings := api.settings(t)
	settings.pace.timeout = 10 * time.Millisecond
	cred, problem := newCredential("token", "requests get status 503", testReference, "Authorization", "Bearer ", settings)
	if problem != "" {
		t.Fatal(problem)
	}
	logged := logOutput(t, func() {
		s := newSharedSecret(cred.source)
		cred.secret = s
		s.mu.Lock()
		s.users = []context.Context{context.Background()}
		s.timer = time.AfterFunc(time.Hour, refreshFunc(s))
		s.mu.Unlock()
		beginRefresh(s, time.Now()) // without an end
		if got := sent(cred); got != "credentials_unavailable" {
			t.Errorf("credential %q, want none", got)
		}
		endRefresh(s, "k", nil)
		if got := sent(cred); got != "Bearer k" {
			t.Errorf("credential %q, want %q", got, "Bearer k")
		}
		s.mu.Lock()
		s.timer.Stop()
		s.timer = nil
		s.mu.Unlock()
	})
	if !strings.Contains(logged, "timed out; requests get status 503") {
		t.Errorf("log %q, want a timeout in it", logged)
	}
}

func TestKeySurvivesOneFailedLookUp(t *testing.T) {
	for _, config := range []Secrets{{Refresh: "1h"}, {MaxStale: "1m"}, {Refresh: "10m", MaxStale: "1m"}} {
		s := parseSecrets(&problems{}, config, environment())
		shared := newSharedSecret(&secretSource{pace: s.pace})
		now := time.Now()
		storeKey(shared, "", "key", now)
		keepStaleKey(shared, true, shared.due)
		if got, _ := shared.current.Load().(string); got != "key" {
			t.Errorf("%v: key %q after one failure, want it kept", config, got)
		}
	}
}
