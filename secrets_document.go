package chatcompletion

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// document is a text that a configuration refers to, such as a list of consumers. It is looked up
// like a key, as a secret whose value is the digest of the text, and replaced as a whole: one that is
// invalid leaves the last valid one in use, for as long as it takes.
type document struct {
	parse  func(text string) (parsed any, problem string)
	parsed atomic.Value // of the last valid text; empty: there was none

	// What the last look-up has found. Only look-ups use it, one at a time.
	modified time.Time // of a file
	size     int64     // of a file
	isFresh  bool      // the file had just been written, and may be written again at the same time
	digest   string
	problem  *lookUpProblem // with the text of this digest; nil: it is valid
}

// documentFailures counts the look-ups of documents that found none, or an invalid one, by the
// configuration key.
var (
	documentFailuresMu sync.Mutex
	documentFailures   = map[string]int64{}
)

// countDocumentFailures counts failed look-ups for a configuration key. With 0, the first failure shows
// as an increase.
func countDocumentFailures(key string, count int64) {
	documentFailuresMu.Lock()
	documentFailures[key] += count
	documentFailuresMu.Unlock()
}

// documentFailureCounts returns a copy of documentFailures.
func documentFailureCounts() map[string]int64 {
	documentFailuresMu.Lock()
	defer documentFailuresMu.Unlock()
	counts := map[string]int64{}
	for key, count := range documentFailures {
		counts[key] = count
	}
	return counts
}

// documentMaxBytes limits the size of a document.
const documentMaxBytes = 16 << 20

// documentRefresh is the interval between two look-ups of a file. It is read again if its time or its
// size has changed.
const documentRefresh = 5 * time.Second

// documentFreshFor is how long a file is read at each look-up after it was written: the times of two
// writes in a row may be the same, and so may their sizes.
const documentFreshFor = 2 * time.Second

// documentMaxStale is how long a document is used after its last successful look-up: for ever.
const documentMaxStale = 100 * 365 * 24 * time.Hour

// newDocument returns the document that text refers to, or text itself if it is one: the configured
// text, or the value of an environment variable. Exactly one of them is returned, unless there is a
// problem; begins are the characters with which a document begins.
func newDocument(key, consequence, text, begins string, settings *secretSettings) (source *secretSource, literal, problem string) {
	text = strings.TrimSpace(text)
	source = nil
	literal, problem = "", ""
	switch {
	case text != "" && strings.Contains(begins, text[:1]):
		literal = text
	case strings.HasPrefix(text, envPrefix):
		if literal = strings.TrimSpace(os.Getenv(text[len(envPrefix):])); literal == "" {
			problem = fmt.Sprintf("the environment variable %q is unset or empty", text[len(envPrefix):])
		}
	case strings.HasPrefix(text, filePrefix) && !filepath.IsAbs(text[len(filePrefix):]):
		problem = "must name an absolute path, as in urn:file:/path"
	case strings.HasPrefix(text, filePrefix):
		source = newDocumentSource(key, consequence, text, settings)
		source.path = text[len(filePrefix):]
	case strings.HasPrefix(text, k8sPrefix):
		source = newDocumentSource(key, consequence, text, settings)
		problem = resolve(source, settings, text)
	default:
		problem = "must be JSON, or a reference to it: urn:file:/path, urn:env:NAME or urn:k8s:secret:name:key"
	}
	if source != nil && source.path != "" {
		source.pace.refresh = documentRefresh
	}
	return source, literal, problem
}

func newDocumentSource(key, consequence, text string, settings *secretSettings) *secretSource {
	source := newSource(settings, key, consequence, text)
	source.document = &document{}
	source.pace.maxStale = documentMaxStale
	return source
}

// useDocument sets how the text of a source is read. The same text is another document for each use.
func useDocument(source *secretSource, use string, parse func(text string) (parsed any, problem string)) {
	source.document.parse = parse
	source.id += "\x00" + use
}

// startDocument starts the look-ups of a document.
func startDocument(ctx context.Context, source *secretSource) *secret {
	countDocumentFailures(source.key, 0)
	return useSecret(ctx, source)
}

// lookUpDocument reads a document from its file, unless it is unchanged. It returns its digest.
func lookUpDocument(source *secretSource) (string, *lookUpProblem) {
	d := source.document
	info, err := os.Stat(source.path)
	if err != nil {
		d.modified = time.Time{}
		return "", &lookUpProblem{"file", err.Error() + howToMount(source)}
	}
	if info.ModTime().Equal(d.modified) && info.Size() == d.size && !d.isFresh {
		return d.digest, d.problem
	}
	if !info.Mode().IsRegular() || info.Size() > documentMaxBytes {
		return "", &lookUpProblem{"file", fmt.Sprintf("%q is not a regular file of at most %d bytes", source.path, documentMaxBytes)}
	}
	content, err := os.ReadFile(source.path)
	if err != nil {
		return "", &lookUpProblem{"file", err.Error()}
	}
	d.modified = info.ModTime()
	d.size = info.Size()
	d.isFresh = time.Since(d.modified) < documentFreshFor
	return checkDocument(d, string(content), sourceName(source))
}

// checkDocument parses the text of a document that name describes, and makes it the current one if
// it is valid. It returns its digest.
func checkDocument(d *document, text, name string) (string, *lookUpProblem) {
	sum := sha256.Sum256([]byte(text))
	digest := hex.EncodeToString(sum[:])
	if d.digest == digest {
		return digest, d.problem
	}
	parsed, invalid := d.parse(text)
	d.digest = digest
	d.problem = nil
	if invalid != "" {
		d.problem = &lookUpProblem{"content " + digest, name + " is invalid: " + invalid} // another text is logged anew
		return digest, d.problem
	}
	d.parsed.Store(parsed)
	return digest, nil
}

// currentDocument returns the last valid content of a document, nil if there was none so far. It
// waits for the first look-up, whose time is bounded.
func currentDocument(s *secret) any {
	parsed := s.source.document.parsed.Load()
	if parsed == nil {
		<-s.firstLookUp
		parsed = s.source.document.parsed.Load()
	}
	return parsed
}
