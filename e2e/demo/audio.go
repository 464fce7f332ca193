package demo

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// audioSecond is the size of a second of audio, in bytes.
const audioSecond = 16_000

// form is a multipart request: its fields, and the size and name of its file.
type form struct {
	fields map[string]string
	file   string
	size   int64
}

// readForm reads a multipart request as it arrives, and reports whether the handler should respond to it.
func (u *upstream) readForm(w http.ResponseWriter, r *http.Request) (form, bool) {
	u.log.record(r, nil)
	f := form{fields: map[string]string{}}
	if !u.admits(w, r) {
		return f, false
	}
	parts, err := r.MultipartReader()
	for err == nil {
		part, next := parts.NextPart()
		if errors.Is(next, io.EOF) {
			return f, u.knows(w, r, f.fields["model"])
		}
		if err = next; err != nil {
			break
		}
		if part.FileName() != "" {
			f.file = part.FileName()
			f.size, err = io.Copy(io.Discard, part)
			continue
		}
		var value []byte
		value, err = io.ReadAll(part)
		f.fields[part.FormName()] = string(value)
	}
	openAI.fail(w, failure{http.StatusBadRequest, "", "", fmt.Sprintf("Could not parse multipart form: %v", err)})
	return f, false
}

// transcriptions serves transcriptions and translations. The usage of whisper-1 is a duration; other
// models have tokens: ten for each second of audio, and those of the prompt.
func (u *upstream) transcriptions(w http.ResponseWriter, r *http.Request) {
	f, ok := u.readForm(w, r)
	if !ok {
		return
	}
	text := fmt.Sprintf("%s heard %d bytes of %s", f.fields["model"], f.size, f.file)
	seconds := int((f.size + audioSecond - 1) / audioSecond)
	usage := map[string]any{"type": "duration", "seconds": seconds}
	if f.fields["model"] != "whisper-1" {
		prompt, audio := tokens(f.fields["prompt"]), 10*seconds
		usage = map[string]any{
			"type": "tokens", "input_tokens": prompt + audio, "input_token_details": map[string]any{"text_tokens": prompt, "audio_tokens": audio},
			"output_tokens": tokens(text), "total_tokens": prompt + audio + tokens(text),
		}
	}
	switch format := f.fields["response_format"]; {
	case f.fields["stream"] == "true":
		events := &eventsOf{}
		for _, piece := range pieces(text, u.chunks) {
			events.add("transcript.text.delta", map[string]any{"delta": piece})
		}
		events.add("transcript.text.done", map[string]any{"text": text, "usage": usage})
		u.send(w, r, events.texts)
	case format == "text" || format == "srt" || format == "vtt":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, text+"\n")
	case format == "verbose_json":
		writeJSON(w, http.StatusOK, map[string]any{
			"task": "transcribe", "language": "english", "duration": seconds, "text": text, "segments": []any{}, "usage": usage,
		})
	default:
		writeJSON(w, http.StatusOK, map[string]any{"text": text, "usage": usage})
	}
}

// speech returns silence: a sixtieth of a second for each byte of the text, as a WAV file.
func (u *upstream) speech(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model        string `json:"model"`
		Input        string `json:"input"`
		StreamFormat string `json:"stream_format"`
	}
	if !u.read(w, r, &request) || !u.knows(w, r, request.Model) {
		return
	}
	sound := silence(len(request.Input) * audioSecond / 60)
	if request.StreamFormat != "sse" {
		w.Header().Set("Content-Type", "audio/wav")
		_, _ = w.Write(sound)
		return
	}
	input, output := tokens(request.Input), tokens(string(sound))/100
	events := &eventsOf{}
	events.add("speech.audio.delta", map[string]any{"audio": base64.StdEncoding.EncodeToString(sound)})
	events.add("speech.audio.done", map[string]any{"usage": map[string]any{"input_tokens": input, "output_tokens": output, "total_tokens": input + output}})
	u.send(w, r, events.texts)
}

// silence returns a WAV file with one channel of 8,000 samples a second, 16 bits each.
func silence(size int) []byte {
	const rate, samples = 8_000, 2
	size -= size % samples
	var file strings.Builder
	file.WriteString("RIFF")
	header := binary.LittleEndian.AppendUint32(nil, uint32(36+size))
	header = append(header, "WAVEfmt "...)
	header = binary.LittleEndian.AppendUint32(header, 16)
	header = binary.LittleEndian.AppendUint16(header, 1) // PCM
	header = binary.LittleEndian.AppendUint16(header, 1)
	header = binary.LittleEndian.AppendUint32(header, rate)
	header = binary.LittleEndian.AppendUint32(header, rate*samples)
	header = binary.LittleEndian.AppendUint16(header, samples)
	header = binary.LittleEndian.AppendUint16(header, 8*samples)
	header = append(header, "data"...)
	header = binary.LittleEndian.AppendUint32(header, uint32(size))
	file.Write(header)
	file.Write(make([]byte, size))
	return []byte(file.String())
}
