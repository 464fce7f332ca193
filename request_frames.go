package chatcompletion

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
)

// Opcodes of the frames of a WebSocket (RFC 6455). Those from closeOpcode on are of control frames.
const (
	continuationOpcode = 0x0
	textOpcode         = 0x1
	binaryOpcode       = 0x2
	closeOpcode        = 0x8
	pongOpcode         = 0xa
)

// Codes of close frames.
const (
	closeNormal    = 1000
	closeGoingAway = 1001
	closeProtocol  = 1002
	closeNoCode    = 1005 // there was none
	closePolicy    = 1008
)

// Bits of the first two bytes of a frame, and bounds of its parts.
const (
	finalBit        = 0x80
	reservedBits    = 0x70
	opcodeBits      = 0x0f
	maskBit         = 0x80
	lengthBits      = 0x7f
	length16        = 126 // the length is in the next 2 bytes
	length64        = 127 // the length is in the next 8 bytes
	maskBytes       = 4
	headerMinBytes  = 2
	frameHeadMax    = 14 // bytes of a header
	controlMaxBytes = 125
)

// frames finds the frames of a WebSocket in the bytes of one direction. It reads headers only: its
// steps do not grow with the payloads.
type frames struct {
	masked     bool   // they are a client's
	partial    []byte // a header that has arrived in part
	inFrame    bool   // the payload of a frame has not arrived as a whole
	inMessage  bool   // the last frame of a message has not begun
	opcode     byte   // of the present frame
	final      bool   // the present frame is the last one of its message
	left       int64  // bytes of the payload of the present frame that have not arrived
	mask       []byte // of the present frame
	maskOffset int    // of the payload that follows

	// Set by nextPiece.
	header  []byte // of a frame that begins in this piece; nil: none does
	payload []byte // of the present frame, as far as it is in this piece
	ended   bool   // the present frame ends with this piece
}

// isBetween reports whether what has arrived ends with a whole frame.
func isBetween(f *frames) bool {
	return !f.inFrame && len(f.partial) == 0
}

// isControl reports whether a frame is a control frame, which may stand between those of a message.
func isControl(f *frames) bool {
	return f.opcode >= closeOpcode
}

// nextPiece finds the next piece of a frame at the beginning of data, which is not empty: its header,
// what there is of its payload, or both. It returns the length of the piece, and 0 if the bytes are not
// frames.
func nextPiece(f *frames, data []byte) int {
	taken := 0
	f.header = nil
	f.payload = nil
	f.ended = false
	if !f.inFrame {
		taken = takeHeader(f, data)
		if f.header == nil {
			return taken
		}
	}
	rest := data[taken:]
	if int64(len(rest)) > f.left {
		rest = rest[:f.left]
	}
	f.payload = rest
	f.left -= int64(len(rest))
	f.ended = f.left == 0
	f.inFrame = !f.ended
	return taken + len(rest)
}

// takeHeader takes the header of a frame from data, and returns how many bytes it took. It sets the header
// if that is complete; if it is none, nothing is taken.
func takeHeader(f *frames, data []byte) int {
	before := len(f.partial)
	head := data
	if len(head) > frameHeadMax {
		head = head[:frameHeadMax]
	}
	if before > 0 {
		head = append(f.partial, head...)
	}
	length := headerLength(head, f.masked)
	if length > len(head) {
		f.partial = append([]byte(nil), head...)
		return len(head) - before
	}
	f.partial = nil
	if !readHeader(f, head[:length]) {
		return 0
	}
	f.header = head[:length]
	return length - before
}

// headerLength returns the length of the header that begins with some bytes; more than these if they are too
// few to have it.
func headerLength(head []byte, masked bool) int {
	length := headerMinBytes
	if len(head) < length {
		return length
	}
	switch head[1] & lengthBits {
	case length16:
		length += 2
	case length64:
		length += 8
	}
	if masked {
		length += maskBytes
	}
	return length
}

// readHeader reads a complete header, and reports whether it is valid.
func readHeader(f *frames, head []byte) bool {
	first, second := head[0], head[1]
	opcode, length := first&opcodeBits, int64(second&lengthBits)
	f.final = first&finalBit != 0
	isMasked := second&maskBit != 0
	if first&reservedBits != 0 || isMasked != f.masked {
		return false
	}
	switch {
	case opcode > pongOpcode || (opcode > binaryOpcode && opcode < closeOpcode):
		return false
	case opcode >= closeOpcode:
		if !f.final || length > controlMaxBytes {
			return false
		}
	case (opcode == continuationOpcode) != f.inMessage:
		return false
	default:
		f.inMessage = !f.final
	}
	f.opcode = opcode
	switch length {
	case length16:
		length = int64(binary.BigEndian.Uint16(head[2:]))
	case length64:
		length = int64(binary.BigEndian.Uint64(head[2:])) // negative with the reserved bit
	}
	if f.masked {
		f.mask = append([]byte(nil), head[len(head)-maskBytes:]...)
		f.maskOffset = 0
	}
	f.left = length
	return length >= 0
}

// unmasked returns the payload of the present piece without its mask. It is called once for each piece.
func unmasked(f *frames) []byte {
	if !f.masked {
		return f.payload
	}
	plain := make([]byte, len(f.payload))
	applyMask(plain, f.payload, f.mask, f.maskOffset)
	f.maskOffset = (f.maskOffset + len(plain)) % maskBytes
	return plain
}

// applyMask writes what a mask, which begins at an offset, makes of from. Compiled code touches the bytes.
func applyMask(to, from, mask []byte, offset int) {
	rotated := append(append([]byte(nil), mask[offset:]...), mask[:offset]...)
	subtle.XORBytes(to, from, bytes.Repeat(rotated, len(from)/maskBytes+1)[:len(from)])
}

// newFrame returns a whole frame of a message, or a control frame.
func newFrame(opcode byte, payload []byte, masked bool) []byte {
	maskFlag, length := byte(0), len(payload)
	if masked {
		maskFlag = maskBit
	}
	frame := []byte{finalBit | opcode}
	switch {
	case length < length16:
		frame = append(frame, maskFlag|byte(length))
	case length <= 0xffff:
		frame = append(frame, maskFlag|length16)
		frame = binary.BigEndian.AppendUint16(frame, uint16(length))
	default:
		frame = append(frame, maskFlag|length64)
		frame = binary.BigEndian.AppendUint64(frame, uint64(length))
	}
	if !masked {
		return append(frame, payload...)
	}
	mask := make([]byte, maskBytes)
	_, _ = rand.Read(mask)
	hidden := make([]byte, length)
	applyMask(hidden, payload, mask, 0)
	return append(append(frame, mask...), hidden...)
}

// closeFrame returns a close frame with a reason, which is cut to what such a frame can hold.
func closeFrame(code int, reason string, masked bool) []byte {
	payload := binary.BigEndian.AppendUint16(nil, uint16(code))
	return newFrame(closeOpcode, append(payload, truncated(reason, controlMaxBytes-len(payload))...), masked)
}

// closeCode returns the code in the payload of a close frame.
func closeCode(payload []byte) int {
	if len(payload) < 2 {
		return closeNoCode
	}
	return int(binary.BigEndian.Uint16(payload))
}
