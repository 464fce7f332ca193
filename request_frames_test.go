package chatcompletion

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"testing"
)

// frame is a frame as the reference parser reads it.
type frame struct {
	opcode  byte
	final   bool
	payload string
}

// referenceFrames parses whole frames, byte by byte. It returns how many bytes they have, and whether
// the rest can be the beginning of a frame.
func referenceFrames(data []byte, masked bool) (all []frame, length int, isValid bool) {
	open := false
	for {
		rest := data[length:]
		if len(rest) < 2 {
			return all, length, true
		}
		opcode, size, at := rest[0]&15, uint64(rest[1]&127), 2
		extended := 0
		switch size {
		case 126:
			extended = 2
		case 127:
			extended = 8
		}
		mask := []byte{0, 0, 0, 0}
		need := 2 + extended
		if masked {
			need += 4
		}
		if len(rest) < need {
			return all, length, true
		}
		if extended > 0 {
			size = 0
			for _, b := range rest[at : at+extended] {
				size = size<<8 | uint64(b)
			}
			at += extended
		}
		if masked {
			copy(mask, rest[at:])
			at += 4
		}
		isControl := opcode >= 8
		switch {
		case rest[0]&0x70 != 0, rest[1]&0x80 != 0 != masked, opcode > 10, opcode > 2 && opcode < 8, size > 1<<63-1:
			return all, length, false
		case isControl && (rest[0]&0x80 == 0 || rest[1]&127 > 125):
			return all, length, false
		case !isControl && open != (opcode == 0):
			return all, length, false
		}
		final := rest[0]&0x80 != 0
		if !isControl {
			open = !final
		}
		if uint64(len(rest)-at) < size {
			return all, length, true
		}
		payload := append([]byte(nil), rest[at:at+int(size)]...)
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		all = append(all, frame{opcode, final, string(payload)})
		length += at + int(size)
	}
}

// parsedFrames parses frames that arrive in packets of random sizes.
func parsedFrames(t *testing.T, data []byte, masked bool, packets *rand.Rand) (all []frame, isValid bool) {
	f := &frames{masked: masked}
	payload, seen := "", []byte(nil)
	for len(data) > 0 {
		n := 1 + packets.Intn(len(data))
		packet := append([]byte(nil), data[:n]...)
		data = data[n:]
		for len(packet) > 0 {
			n := nextPiece(f, packet)
			if n == 0 {
				return all, false
			}
			packet = packet[n:]
			seen = append(append(seen, f.header...), f.payload...)
			payload += string(unmasked(f))
			if f.ended {
				all = append(all, frame{f.opcode, f.final, payload})
				payload = ""
			}
		}
	}
	if seen = append(seen, f.partial...); !bytes.HasSuffix(append([]byte(nil), seen...), f.partial) {
		t.Errorf("the pieces do not end with the partial header")
	}
	return all, true
}

func FuzzFrames(f *testing.F) {
	for _, masked := range []bool{false, true} {
		stream := newFrame(textOpcode, []byte("Hello"), masked)
		stream = append(stream, newFrame(binaryOpcode, bytes.Repeat([]byte("a"), 300), masked)...)
		stream = append(stream, closeFrame(closePolicy, "no", masked)...)
		f.Add(stream, masked, int64(1))
		f.Add(append([]byte{textOpcode}, newFrame(continuationOpcode, nil, masked)[1:]...), masked, int64(2))
		f.Add(newFrame(textOpcode, bytes.Repeat([]byte("b"), 70000), masked), masked, int64(3))
	}
	f.Add([]byte{0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255, 0}, false, int64(4))
	f.Add([]byte{0xc1, 0}, false, int64(5))
	f.Add([]byte{0x09, 0}, false, int64(6))
	f.Fuzz(func(t *testing.T, data []byte, masked bool, seed int64) {
		want, _, isValid := referenceFrames(data, masked)
		got, gotValid := parsedFrames(t, data, masked, rand.New(rand.NewSource(seed)))
		if fmt.Sprint(got) != fmt.Sprint(want) || gotValid != isValid {
			t.Errorf("%x: frames %+v, valid: %v, want %+v, %v", data, got, gotValid, want, isValid)
		}
	})
}

func TestNewFrameCanBeParsed(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 200000} {
		for _, masked := range []bool{false, true} {
			payload := bytes.Repeat([]byte("x"), size)
			got, length, isValid := referenceFrames(newFrame(textOpcode, payload, masked), masked)
			if len(got) != 1 || !isValid || got[0] != (frame{textOpcode, true, string(payload)}) {
				t.Errorf("%d bytes, masked: %v: %d frames in %d bytes, valid: %v, want the frame", size, masked, len(got), length, isValid)
			}
		}
	}
}

func TestCloseFrameHoldsReason(t *testing.T) {
	frames, _, _ := referenceFrames(closeFrame(closePolicy, string(bytes.Repeat([]byte("é"), 100)), false), false)
	if len(frames) != 1 || len(frames[0].payload) > controlMaxBytes || binary.BigEndian.Uint16([]byte(frames[0].payload)) != closePolicy {
		t.Errorf("got %+v, want one control frame with the code", frames)
	}
}
