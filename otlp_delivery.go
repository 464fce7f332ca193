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

// delivery is what became of a request.
type delivery struct {
	accepted bool
	rejected int64         // of its spans or points
	again    bool          // it may succeed later
	after    time.Duration // not before
}

// compressBody returns a body as it is sent.
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

// postExport posts a body to the collector, and tells the operator if that begins to fail.
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

// post returns what is wrong, "" if nothing is.
func post(ctx context.Context, e *exporter, signal *otlpSignal, body []byte, d *delivery) string {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, signal.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(bounded, http.MethodPost, signal.url, bytes.NewReader(body))
	if err != nil {
		return "the URL cannot be used"
	}
	req.Header.Set("User-Agent", "chat-completion")
	for _, header := range signal.headers {
		value := currentValue(header)
		if value == "" {
			d.again = true
			return "there is no value for the header " + header.header
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
			return "no answer within " + signal.timeout.String()
		}
		return problemText(err)
	}
	answer, _ := io.ReadAll(io.LimitReader(res.Body, collectorMaxText))
	_ = res.Body.Close()
	if res.StatusCode == http.StatusUnauthorized {
		for _, header := range signal.headers {
			credentialRefused(header, began)
		}
	}
	return readExportResponse(res, answer, d)
}

// readExportResponse notes what a collector says, and returns what is wrong.
func readExportResponse(res *http.Response, answer []byte, d *delivery) string {
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		d.again = true
		d.after = retryAfter(res.Header.Get("Retry-After"))
	}
	d.accepted = res.StatusCode >= http.StatusOK && res.StatusCode < http.StatusMultipleChoices
	if !d.accepted {
		return "the answer has status " + strconv.Itoa(res.StatusCode)
	}
	var members struct {
		PartialSuccess struct {
			RejectedSpans      json.Number `json:"rejectedSpans"`
			RejectedDataPoints json.Number `json:"rejectedDataPoints"`
			ErrorMessage       string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(answer, &members) != nil {
		return ""
	}
	for _, number := range []json.Number{members.PartialSuccess.RejectedSpans, members.PartialSuccess.RejectedDataPoints} {
		if count, err := number.Int64(); err == nil && count > 0 && count <= pointBatch {
			d.rejected += count
		} else if err == nil && count > 0 {
			d.rejected += pointBatch // no request has more
		}
	}
	if d.rejected == 0 {
		return ""
	}
	return strconv.FormatInt(d.rejected, 10) + " are refused: " + strconv.Quote(shortened(members.PartialSuccess.ErrorMessage))
}

// retryAfter reads a Retry-After, seconds or a date.
func retryAfter(text string) time.Duration {
	after := time.Duration(0)
	if seconds, err := strconv.Atoi(text); err == nil {
		after = maxRetryAfter
		if seconds < int(maxRetryAfter/time.Second) {
			after = time.Duration(seconds) * time.Second
		}
	} else if date, err := http.ParseTime(text); err == nil {
		after = time.Until(date)
	}
	if after > maxRetryAfter {
		return maxRetryAfter
	}
	return after
}

// logFailure makes a failure known, once until something has been sent again.
func logFailure(e *exporter, name, address, problem string) {
	if !e.failing[name] {
		e.failing[name] = true
		logWarn("%s cannot be sent to %s: %s", name, address, truncated(problem, problemMaxBytes))
	}
}
