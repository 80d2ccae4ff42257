package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// window is how much of the input is held at once, in bytes, beside the one value that is looked at.
const window = 64 << 10

// stream walks over one JSON document and keeps no more of it than the value that is looked at. What is passed over
// is only searched for where it ends, which is many times faster than to take it apart; what is looked at is checked
// by encoding/json. Each function given to object and array must use up exactly one value.
type stream struct {
	from     io.Reader
	buffer   []byte // what was read and not used
	at, end  int
	before   int64 // bytes of the input before buffer
	keeping  bool
	keptFrom int
	kept     []byte // of the value that is kept: what is no longer in buffer
	err      error  // why no more can be read
}

func newStream(from io.Reader) *stream {
	return &stream{from: from, buffer: make([]byte, window)}
}

// offset is how many bytes of the input were used.
func (s *stream) offset() int64 { return s.before + int64(s.at) }

// fill reads on; false at the end of the input, or when it cannot be read.
func (s *stream) fill() bool {
	if s.err != nil {
		return false
	}
	if s.keeping {
		s.kept = append(s.kept, s.buffer[s.keptFrom:s.end]...)
		s.keptFrom = 0
	}
	s.before += int64(s.end)
	s.at, s.end = 0, 0
	for range 100 { // as bufio does: a reader that gives neither bytes nor an error is broken
		n, err := s.from.Read(s.buffer)
		s.end, s.err = n, err
		if n > 0 || err != nil {
			return n > 0
		}
	}
	s.err = io.ErrNoProgress
	return false
}

// failed is why there is no more to read.
func (s *stream) failed() error {
	if errors.Is(s.err, io.EOF) {
		return fmt.Errorf("read at byte %d: %w", s.offset(), io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read at byte %d: %w", s.offset(), s.err)
}

// peek gives the next byte that is not white space, without using it.
func (s *stream) peek() (byte, error) {
	for {
		for s.at < s.end {
			switch c := s.buffer[s.at]; c {
			case ' ', '\t', '\n', '\r':
				s.at++
			default:
				return c, nil
			}
		}
		if !s.fill() {
			return 0, s.failed()
		}
	}
}

// expect uses one byte.
func (s *stream) expect(want byte) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != want {
		return s.unexpected(c, want)
	}
	s.at++
	return nil
}

func (s *stream) unexpected(got, want byte) error {
	if want == 0 || !strings.ContainsRune(`{}[]",:-0123456789tfn`, rune(got)) {
		return fmt.Errorf("invalid character %q at byte %d", got, s.offset())
	}
	return fmt.Errorf("expected %q at byte %d", string(want), s.offset())
}

// object calls use for each member of an object. null stands for an empty one.
func (s *stream) object(use func(key string) error) error {
	return s.container('{', '}', func() error {
		key, err := s.text()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		return use(key)
	})
}

// array calls use for each element of an array. null stands for an empty one.
func (s *stream) array(use func() error) error { return s.container('[', ']', use) }

func (s *stream) container(begin, end byte, use func() error) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == 'n' {
		var nothing any
		if err := s.decode(&nothing); err != nil {
			return err
		}
		return nil
	}
	if err := s.expect(begin); err != nil {
		return err
	}
	if c, err = s.peek(); err != nil {
		return err
	}
	if c == end {
		s.at++
		return nil
	}
	for {
		if err := use(); err != nil {
			return err
		}
		if c, err = s.peek(); err != nil {
			return err
		}
		switch c {
		case ',':
			s.at++
		case end:
			s.at++
			return nil
		default:
			return s.unexpected(c, ',')
		}
	}
}

// text reads a string.
func (s *stream) text() (string, error) {
	c, err := s.peek()
	if err != nil {
		return "", err
	}
	if c != '"' {
		return "", fmt.Errorf("expected a string at byte %d", s.offset())
	}
	raw, err := s.value()
	if err != nil {
		return "", err
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", fmt.Errorf("decode at byte %d: %w", s.offset(), err)
	}
	return text, nil
}

// decode takes one value apart, with numbers as they are written.
func (s *stream) decode(into any) error {
	raw, err := s.value()
	if err != nil {
		return err
	}
	if err := decode(raw, into); err != nil {
		return fmt.Errorf("decode at byte %d: %w", s.offset(), err)
	}
	return nil
}

// decode is json.Unmarshal with numbers as they are written.
func decode(raw []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if decoder.More() {
		return errors.New("more than one value")
	}
	return nil
}

// value gives the bytes of one value. They hold until the next call.
func (s *stream) value() ([]byte, error) {
	if _, err := s.peek(); err != nil {
		return nil, err
	}
	s.keeping, s.keptFrom, s.kept = true, s.at, s.kept[:0]
	defer func() { s.keeping = false }()
	if err := s.skip(); err != nil {
		return nil, err
	}
	if len(s.kept) == 0 {
		return s.buffer[s.keptFrom:s.at], nil
	}
	s.kept = append(s.kept, s.buffer[s.keptFrom:s.at]...)
	return s.kept, nil
}

// skip passes over one value.
func (s *stream) skip() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '"':
		s.at++
		return s.skipString()
	case '{', '[':
		return s.skipContainer()
	case '}', ']', ',', ':':
		return fmt.Errorf("expected a value at byte %d", s.offset())
	default:
		return s.skipWord()
	}
}

// skipContainer passes over an object or array: to where as many were closed as opened.
func (s *stream) skipContainer() error {
	for depth := 0; ; {
		for s.at < s.end {
			c := s.buffer[s.at]
			s.at++
			switch c {
			case '"':
				if err := s.skipString(); err != nil {
					return err
				}
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return nil
				}
			}
		}
		if !s.fill() {
			return s.failed()
		}
	}
}

// skipString passes over the rest of a string.
func (s *stream) skipString() error {
	for escaped := false; ; {
		for s.at < s.end {
			c := s.buffer[s.at]
			s.at++
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				return nil
			}
		}
		if !s.fill() {
			return s.failed()
		}
	}
}

// skipWord passes over a number, true, false or null.
func (s *stream) skipWord() error {
	for used := false; ; {
		for s.at < s.end {
			c := s.buffer[s.at]
			if word := c == '-' || c == '+' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || c == 'E'; !word {
				if !used {
					return s.unexpected(c, 0)
				}
				return nil
			}
			used = true
			s.at++
		}
		if !s.fill() {
			if errors.Is(s.err, io.EOF) && used {
				return nil
			}
			return s.failed()
		}
	}
}
