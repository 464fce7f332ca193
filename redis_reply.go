package chatcompletion

import (
	"bufio"
	"errors"
	"io"
	"strconv"
)

// Bounds of replies. Those to the commands of quotas are far below.
const (
	replyMaxBytes  = 64 << 10 // of a string whose length precedes it, in replies to all commands but those of a cache
	replyLineBytes = 4 << 10  // of a line
)

// Kinds of replies in the Redis protocol (RESP2): their first bytes. No command of the plugin is
// replied to with an array.
const (
	statusReply  = '+'
	errorReply   = '-'
	integerReply = ':'
	stringReply  = '$'
)

// errReply is the error for bytes that are no reply. What follows them cannot be read.
var errReply = errors.New("the reply is not valid")

// readReply reads a reply, whose string has at most maxBytes. It returns its kind and its text, which
// is nil for a string that does not exist.
func readReply(r *bufio.Reader, maxBytes int) (byte, []byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, nil, replyError(err)
	}
	end := len(line) - 2
	if end < 1 || line[end] != '\r' {
		return 0, nil, errReply
	}
	kind := line[0]
	if kind == stringReply {
		text, err := readString(r, string(line[1:end]), maxBytes)
		return kind, text, err
	}
	if kind != integerReply && kind != statusReply && kind != errorReply {
		return 0, nil, errReply
	}
	text := append([]byte(nil), line[1:end]...) // the next read overwrites the line; as a result of its own, see trap 28
	return kind, text, nil
}

// replyError returns errReply for a line that is too long.
func replyError(err error) error {
	if err == bufio.ErrBufferFull {
		return errReply
	}
	return err
}

// readString reads a string and the end of its line.
func readString(r *bufio.Reader, length string, maxBytes int) ([]byte, error) {
	if length == "-1" {
		return nil, nil
	}
	size, err := strconv.ParseUint(length, 10, 31)
	if err != nil || size > uint64(maxBytes) {
		return nil, errReply
	}
	text := make([]byte, size+2)
	if _, err = io.ReadFull(r, text); err != nil {
		return nil, err
	}
	if string(text[size:]) != "\r\n" {
		return nil, errReply
	}
	return text[:size], nil
}
