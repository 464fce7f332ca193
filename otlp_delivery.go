package chatcompletion

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// delivery is the outcome of an export request.
type delivery struct {
	accepted bool
	rejected int64         // spans or points
	again    bool          // a retry may succeed
	after    time.Duration // the least delay of a retry
}

// compressBody returns a body, compressed if the signal is.
func compressBody(e *exporter, signal *otlpSignal, body []byte) []byte {
	if !signal.gzip {
		return body
	}
	if e.compressor == nil {
		e.compressor, _ = gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	}
	var compressed bytes.Buffer
	e.compressor.Reset(&compressed)
	_, _ = e.compressor.Write(body)
	_ = e.compressor.Close()
	return compressed.Bytes()
}

// postExport posts a body to the collector. It logs the first of a series of failures.
func postExport(ctx context.Context, e *exporter, signal *otlpSignal, body []byte) *delivery {
	d := &delivery{}
	problem := post(ctx, e, signal, body, d)
	if problem != "" {
		logFailure(e, signal.name, signal.url, problem)
	} else {
		e.failing[signal.name] = false
	}
	return d
}

// post sends a request and completes d. It returns the problem, or "" if there is none.
func post(ctx context.Context, e *exporter, signal *otlpSignal, body []byte, d *delivery) string {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, signal.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(bounded, http.MethodPost, signal.url, bytes.NewReader(body))
	if err != nil {
		return "invalid URL"
	}
	req.Header.Set("User-Agent", "chat-completion")
	for _, header := range signal.headers {
		value := currentValue(header)
		if value == "" {
			d.again = true
			return "no value for the header " + header.header
		}
		req.Header[header.header] = []string{value}
	}
	req.Header.Set("Content-Type", "application/json")
	if signal.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	res, err := e.client.Do(req)
	if err != nil {
		d.again = true
		if bounded.Err() != nil {
			return "no response within " + signal.timeout.String()
		}
		return problemText(err)
	}
	resBody, _ := io.ReadAll(io.LimitReader(res.Body, collectorMaxText))
	_ = res.Body.Close()
	if res.StatusCode == http.StatusUnauthorized {
		for _, header := range signal.headers {
			credentialRejected(header, began)
		}
	}
	return readExportResponse(res, resBody, d)
}

// readExportResponse completes d from a collector's response. It returns the problem, or "" if
// there is none.
func readExportResponse(res *http.Response, body []byte, d *delivery) string {
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		d.again = true
		d.after = parseRetryAfter(res.Header.Get("Retry-After"), time.Now())
	}
	d.accepted = res.StatusCode >= http.StatusOK && res.StatusCode < http.StatusMultipleChoices
	if !d.accepted {
		return "response status " + strconv.Itoa(res.StatusCode)
	}
	var members struct {
		PartialSuccess struct {
			RejectedSpans      json.Number `json:"rejectedSpans"`
			RejectedDataPoints json.Number `json:"rejectedDataPoints"`
			ErrorMessage       string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(body, &members) != nil {
		return ""
	}
	for _, number := range []json.Number{members.PartialSuccess.RejectedSpans, members.PartialSuccess.RejectedDataPoints} {
		if count, err := number.Int64(); err == nil && count > 0 && count <= pointBatch {
			d.rejected += count
		} else if err == nil && count > 0 {
			d.rejected += pointBatch // the most that a request holds
		}
	}
	if d.rejected == 0 {
		return ""
	}
	return strconv.FormatInt(d.rejected, 10) + " rejected by the collector: " + strconv.Quote(shortened(members.PartialSuccess.ErrorMessage))
}

// logFailure logs a failure of a signal, once until an export succeeds.
func logFailure(e *exporter, name, address, problem string) {
	if !e.failing[name] {
		e.failing[name] = true
		logWarn("cannot export %s to %s: %s; further failures are not logged until an export succeeds", name, address, truncated(problem, problemMaxBytes))
	}
}
