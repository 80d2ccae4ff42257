package terraform

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"
)

// Of a process's output its first and its last part are kept, in bytes.
const (
	headSize = 32 << 10
	tailSize = 32 << 10
)

// bounded keeps the head and the tail of what is written to it, whatever the amount.
// The head has the first error, the tail the last; what is between them is counted.
type bounded struct {
	head    []byte
	tail    []byte // a ring once it is full
	next    int    // where the ring goes on
	dropped int64
}

// Write never fails.
func (b *bounded) Write(p []byte) (int, error) {
	n := len(p)
	if room := headSize - len(b.head); room > 0 {
		take := min(room, len(p))
		b.head = append(b.head, p[:take]...)
		p = p[take:]
	}
	if len(p) > tailSize {
		b.dropped += int64(len(p) - tailSize)
		p = p[len(p)-tailSize:]
	}
	for len(p) > 0 {
		if len(b.tail) < tailSize {
			take := min(tailSize-len(b.tail), len(p))
			b.tail = append(b.tail, p[:take]...)
			p = p[take:]
			continue
		}
		took := copy(b.tail[b.next:], p)
		b.next = (b.next + took) % tailSize
		b.dropped += int64(took)
		p = p[took:]
	}
	return n, nil
}

// String is the head, a line that says how much is missing, and the tail.
func (b *bounded) String() string {
	tail := string(b.tail[b.next:]) + string(b.tail[:b.next])
	if b.dropped == 0 {
		return string(b.head) + tail
	}
	return fmt.Sprintf("%s\n[… %d bytes left out …]\n%s", b.head, b.dropped, tail)
}

// readEnds takes head and tail of a file without reading what is between.
func (b *bounded) readEnds(file *os.File) {
	info, err := file.Stat()
	if err != nil {
		return
	}
	size := info.Size()
	if size <= headSize+tailSize {
		_, _ = io.Copy(b, io.NewSectionReader(file, 0, size))
		return
	}
	_, _ = io.Copy(b, io.NewSectionReader(file, 0, headSize))
	_, _ = io.Copy(b, io.NewSectionReader(file, size-tailSize, tailSize))
	b.dropped += size - headSize - tailSize
}

// escapeSequence is what terminals take as a command: colours, cursor movements, titles.
var escapeSequence = regexp.MustCompile("\x1b(?:" + strings.Join([]string{
	`\[[0-9;?]*[\x20-\x2f]*[\x40-\x7e]`, // CSI
	`\][^\x07\x1b]*(?:\x07|\x1b\\)`,     // OSC, to its end
	`[\x40-\x5a\\^_]`,                   // of one character
}, "|") + ")")

// Clean makes the output of a program plain text: valid UTF-8, no colours, no control characters but newline
// and tab, none that reverse the direction of text, no frame around diagnostics.
func Clean(s string) string {
	s = escapeSequence.ReplaceAllString(strings.ToValidUTF8(s, "�"), "")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		default:
			return r
		}
	}, s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, " \t")
		for _, frame := range []string{"│ ", "│", "╷", "╵"} {
			if rest, ok := strings.CutPrefix(line, frame); ok {
				line = rest
				break
			}
		}
		lines[i] = line
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}
