package chatcompletion

import (
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// otlpSettings selects what is exported by OTLP, and where to. It comes from the configuration,
// completed from the environment.
type otlpSettings struct {
	metrics  *otlpSignal // nil: none are sent
	traces   *otlpSignal // nil: none are sent
	interval time.Duration
	resource []string // its attributes, as alternating names and values
	semconv  string   // the value of Telemetry.Semconv

	spanWait time.Duration // the longest delay of a span
	linger   time.Duration // how long an exporter without users waits for a new one
	backoff  time.Duration // before the first retry; doubled for each further one

	// key is equal for equal settings only. It may contain secrets.
	key string
}

// otlpSignal holds the export settings of metrics or spans.
type otlpSignal struct {
	name    string // metrics or traces
	url     string // with the path
	headers []*credential
	timeout time.Duration
	gzip    bool
}

// theInstance is the service.instance.id of this process, which keeps the series of several
// Traefiks apart.
var (
	theInstanceMu sync.Mutex
	theInstance   string
)

// instanceID returns a random UUID, the same for the life of the process.
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
