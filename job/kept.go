package job

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/switchyard-dev/switchyard/render"
)

// Bounds of what is kept in the text of a check.
const (
	maxKept     = 40_000  // characters, packed: what is larger is not kept
	maxUnpacked = 8 << 20 // bytes
	keptNothing = "none"
)

// keptAtEnd finds what is kept. It is the last thing of the text: what a plan shows before it is somebody else's.
var keptAtEnd = regexp.MustCompile(`\n<!-- switchyard:kept:1 (none|[A-Za-z0-9+/=]+) -->\n?$`)

// shortened ends a text that gave way to what is kept.
const shortened = "\n\n… The rest is in the comment on the pull request and in the summary of the job.\n"

// Keep hides data at the end of the text of a check, which is shortened where both do not fit. It reports whether data was small enough;
// an empty one is kept as nothing. Whoever may write checks can write this too.
func Keep(text string, data []byte) (with string, whole bool, err error) {
	packed := keptNothing
	if len(data) > 0 {
		var buffer bytes.Buffer
		writer, err := gzip.NewWriterLevel(&buffer, gzip.BestCompression)
		if err != nil {
			return text, false, fmt.Errorf("pack: %w", err)
		}
		if _, err := writer.Write(data); err != nil {
			return text, false, fmt.Errorf("pack: %w", err)
		}
		if err := writer.Close(); err != nil {
			return text, false, fmt.Errorf("pack: %w", err)
		}
		if size := base64.StdEncoding.EncodedLen(buffer.Len()); size <= maxKept {
			packed, whole = base64.StdEncoding.EncodeToString(buffer.Bytes()), true
		}
	}
	hidden := "\n<!-- switchyard:kept:1 " + packed + " -->"
	if room := render.MaxCheckText - len(hidden); len(text) > room {
		text = shorten(text, room-len(shortened)) + shortened
	}
	return text + hidden, whole || len(data) == 0, nil
}

// shorten cuts a Markdown text at the end of a line, and closes what the cut leaves open.
func shorten(text string, most int) string {
	const closing = "\n```\n\n</details>\n"
	cut := strings.ToValidUTF8(text[:max(most-len(closing), 0)], "")
	if i := strings.LastIndexByte(cut, '\n'); i > 0 {
		cut = cut[:i]
	}
	if strings.Count(cut, "\n```")%2 == 1 {
		cut += "\n```\n"
	}
	if strings.Count(cut, "<details") > strings.Count(cut, "</details>") {
		cut += "\n</details>\n"
	}
	return cut
}

// Kept takes out what Keep has hidden; nil where there is nothing.
func Kept(text string) ([]byte, error) {
	match := keptAtEnd.FindStringSubmatch(text)
	if len(match) < 2 || match[1] == keptNothing {
		return nil, nil
	}
	packed, err := base64.StdEncoding.DecodeString(match[1])
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(reader, maxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if len(data) > maxUnpacked {
		return nil, fmt.Errorf("unpack: it has more than %d bytes", maxUnpacked)
	}
	return data, nil
}
