package chatcompletion

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// allocateMaxBytes bounds the memory that a request gets for its announced Content-Length alone;
// beyond that, memory follows the bytes that arrive.
const allocateMaxBytes = 2 << 20

// readBody reads the whole body of a request, and never more than maxBytes of it. With an error, it
// returns the bytes read so far.
func readBody(req *http.Request, maxBytes int64) ([]byte, *apiError) {
	n := req.ContentLength
	if n < 0 || n > allocateMaxBytes || n > maxBytes {
		return readUnannounced(req, maxBytes)
	}
	body := make([]byte, n)
	read, err := io.ReadFull(req.Body, body)
	if err != nil {
		return shortBody(body[:read], err)
	}
	return body, nil
}

// readUnannounced reads a body that gets no memory for its announced length, if it has one.
func readUnannounced(req *http.Request, maxBytes int64) ([]byte, *apiError) {
	if req.ContentLength > maxBytes {
		return nil, tooLarge(maxBytes)
	}
	return readUpTo(req.Body, maxBytes)
}

// shortBody returns the error for a body of which only a part arrived.
func shortBody(body []byte, err error) ([]byte, *apiError) {
	if err == io.EOF {
		return nil, bodyAlreadyRead()
	}
	return body, incompleteBody()
}

// decompress returns the decompressed bytes of a body that the client sent compressed, under the
// same limit.
func decompress(header http.Header, body []byte, maxBytes int64) ([]byte, *apiError) {
	encoding := contentEncoding(header)
	if encoding == "identity" || encoding == "" {
		return body, nil
	}
	if !canDecompress(encoding) {
		return nil, &apiError{http.StatusUnsupportedMediaType, invalidRequestError, "unsupported_content_encoding", "",
			"The Content-Encoding " + quoted(encoding) + " is not supported. Send the body uncompressed, or compress it with gzip or deflate."}
	}
	plain, err := decompressor(encoding, bytes.NewReader(body))
	var apiErr *apiError
	if err == nil {
		body, apiErr = readUpTo(plain, maxBytes)
	}
	if err != nil || (apiErr != nil && apiErr.status == http.StatusBadRequest) {
		return nil, invalidRequest("invalid_content_encoding", "",
			"The Content-Encoding is "+encoding+", but the request body is not valid "+encoding+".")
	}
	return body, apiErr
}

// readUpTo reads all of r, and returns an error as soon as it has more than maxBytes.
func readUpTo(r io.Reader, maxBytes int64) ([]byte, *apiError) {
	var body bytes.Buffer
	n, err := body.ReadFrom(io.LimitReader(r, maxBytes+1))
	switch {
	case err != nil:
		return body.Bytes(), incompleteBody()
	case n > maxBytes:
		return body.Bytes(), tooLarge(maxBytes)
	}
	return body.Bytes(), nil
}

// bodyAlreadyRead is the error for a request that a middleware before this one sends again although
// its body has been read: Traefik's Retry, after the provider failed. A client that breaks off gets
// incompleteBody.
func bodyAlreadyRead() *apiError {
	return &apiError{http.StatusBadGateway, serverError, "body_already_read", "",
		"The provider failed, and the request cannot be retried: its body has already been read. Configure the Retry middleware after this one."}
}

func incompleteBody() *apiError {
	return invalidRequest("incomplete_body", "", "The request body ended before it was complete.")
}

func tooLarge(maxBytes int64) *apiError {
	return &apiError{http.StatusRequestEntityTooLarge, invalidRequestError, "request_too_large", "",
		"The request body exceeds the limit of " + strconv.FormatInt(maxBytes, 10) + " bytes for this endpoint. Send a smaller request."}
}

// contentEncoding returns the encodings of a body, in lower case. decompressor supports one at a
// time.
func contentEncoding(header http.Header) string {
	return strings.ToLower(strings.TrimSpace(strings.Join(header["Content-Encoding"], ",")))
}

// canDecompress reports whether decompressor supports the encoding.
func canDecompress(encoding string) bool {
	return encoding == "gzip" || encoding == "x-gzip" || encoding == "deflate"
}

// decompressor returns a reader of the decompressed bytes of r.
func decompressor(encoding string, r io.Reader) (io.Reader, error) {
	if encoding != "deflate" {
		return gzip.NewReader(r)
	}
	// By "deflate", the standard means the zlib format; some senders use a raw deflate stream.
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

// removeBody removes the body of a request.
func removeBody(req *http.Request) {
	req.Body = http.NoBody
	req.ContentLength = 0
	req.TransferEncoding = nil
}
