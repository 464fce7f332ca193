package chatcompletion

import (
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// otlpSettings is what is sent by OTLP, and where. It comes from the configuration, else from the environment.
type otlpSettings struct {
	metrics  *otlpSignal // nil: none are sent
	traces   *otlpSignal // nil: none are sent
	interval time.Duration
	resource []string // names and values of its attributes by turns

	spanWait time.Duration // how long a span waits for others
	linger   time.Duration // how long an exporter waits for its next user
	backoff  time.Duration // before the first retry; it doubles

	// key is the same for equal settings. It may hold secrets.
	key string
}

// otlpSignal is where metrics or spans are sent, and how.
type otlpSignal struct {
	name    string // metrics or traces
	url     string // the whole of it
	headers []*credential
	timeout time.Duration
	gzip    bool
}

// theInstance is service.instance.id of this process, so that the series of several Traefiks are not taken for one.
var (
	theInstanceMu sync.Mutex
	theInstance   string
)

// instanceID returns a random UUID, always the same.
func instanceID() string {
	theInstanceMu.Lock()
	defer theInstanceMu.Unlock()
	if theInstance == "" {
		random := make([]byte, 16)
		_, _ = rand.Read(random)
		random[6] = random[6]&0x0f | 0x40
		random[8] = random[8]&0x3f | 0x80
		theInstance = fmt.Sprintf("%x-%x-%x-%x-%x", random[:4], random[4:6], random[6:8], random[8:10], random[10:])
	}
	return theInstance
}

// Attributes of the resource.
const (
	serviceNameAttribute     = "service.name"
	serviceInstanceAttribute = "service.instance.id"
)
