package chatcompletion

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// allocateMaxBytes is how much memory a request gets for its announced Content-Length alone; beyond that, memory
// follows the bytes that really come.
const allocateMaxBytes = 2 << 20

// payload is a request's body: as it came, and decompressed.
type payload struct {
	raw   []byte
	plain []byte
}

// readBody reads the whole body of a request, decompressed, and never more than maxBytes of either form. With a
// refusal, raw holds what has been read so far.
func readBody(req *http.Request, maxBytes int64) (payload, *refusal) {
	var p payload
	if req.ContentLength > maxBytes {
		return p, tooLarge(maxBytes)
	}
	var refused *refusal
	if n := req.ContentLength; n >= 0 && n <= allocateMaxBytes {
		p.raw = make([]byte, n)
		read, err := io.ReadFull(req.Body, p.raw)
		if err != nil {
			p.raw, refused = p.raw[:read], unreadable()
		}
	} else {
		p.raw, refused = readUpTo(req.Body, maxBytes)
	}
	p.plain = p.raw
	if refused != nil || req.Header["Content-Encoding"] == nil {
		return p, refused
	}
	encoding := strings.ToLower(strings.Join(req.Header["Content-Encoding"], ","))
	if encoding == "identity" {
		return p, nil
	}
	if !canDecompress(encoding) {
		return p, &refusal{http.StatusUnsupportedMediaType, invalidRequestError, "unsupported_content_encoding", "",
			"The Content-Encoding " + quoted(encoding) + " is not supported. Send the body uncompressed, or with gzip or deflate."}
	}
	plain, err := decompressor(encoding, bytes.NewReader(p.raw))
	if err == nil {
		p.plain, refused = readUpTo(plain, maxBytes)
	}
	if err != nil || (refused != nil && refused.status == http.StatusBadRequest) {
		return p, invalidRequest("invalid_content_encoding", "",
			"The body of the request is not valid "+encoding+", as its Content-Encoding says.")
	}
	return p, refused
}

// readUpTo reads all of r, and refuses it as soon as it has more than maxBytes.
func readUpTo(r io.Reader, maxBytes int64) ([]byte, *refusal) {
	var body bytes.Buffer
	n, err := body.ReadFrom(io.LimitReader(r, maxBytes+1))
	switch {
	case err != nil:
		return body.Bytes(), unreadable()
	case n > maxBytes:
		return body.Bytes(), tooLarge(maxBytes)
	}
	return body.Bytes(), nil
}

func unreadable() *refusal {
	return invalidRequest("incomplete_body", "", "The body of the request ended before it was complete.")
}

func tooLarge(maxBytes int64) *refusal {
	return &refusal{http.StatusRequestEntityTooLarge, invalidRequestError, "request_too_large", "",
		"The body of the request is larger than the " + strconv.FormatInt(maxBytes, 10) + " bytes that this endpoint accepts. Send a smaller one."}
}

// canDecompress tells whether decompressor knows the encoding.
func canDecompress(encoding string) bool {
	return encoding == "gzip" || encoding == "x-gzip" || encoding == "deflate"
}

// decompressor returns the plain bytes of r.
func decompressor(encoding string, r io.Reader) (io.Reader, error) {
	if encoding != "deflate" {
		return gzip.NewReader(r)
	}
	// The standard means zlib's format by "deflate"; some send the bare deflate stream.
	buffered := bufio.NewReader(r)
	head, err := buffered.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(buffered)
	}
	return flate.NewReader(buffered), nil
}

// rewrite makes of the client's request the one that the provider gets.
func rewrite(p *policy, req *http.Request, body payload, v *verdict) {
	header := req.Header
	if v.model != "" {
		header[p.modelHeader] = []string{v.model}
	}
	// Without it, Traefik's transport asks for gzip by itself and hands on plain bytes.
	delete(header, "Accept-Encoding")
	// It could name headers set here, which the reverse proxy would then remove.
	delete(header, "Connection")
	if v.body == nil {
		req.Body = readCloser{io.MultiReader(bytes.NewReader(body.raw), req.Body), req.Body}
		return
	}
	length := 0
	for _, piece := range v.body {
		length += len(piece)
	}
	pieces := net.Buffers(v.body)
	req.Body = io.NopCloser(&pieces)
	req.ContentLength = int64(length)
	req.TransferEncoding = nil
	header["Content-Length"] = []string{strconv.Itoa(length)}
	delete(header, "Content-Encoding")
}

// readCloser joins what is read and what is closed.
type readCloser struct {
	io.Reader
	io.Closer
}
