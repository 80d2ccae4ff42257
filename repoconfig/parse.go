package repoconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	currentVersion         = 1
	placeholderApplication = "{application}"
	placeholderEnvironment = "{environment}"

	maxFile     = 64 << 10 // bytes; the largest real files are a few KiB
	maxProblems = 20       // shown of one file: more do not help
	maxShown    = 60       // characters of a wrong value in a message
)

// Problem is one thing that is wrong in a file, with its place.
type Problem struct {
	Line, Column int    // from 1
	Message      string // plain text with our own keys in backticks and the file's own words in quotes
}

// String is the problem as it is shown: place, what is wrong, what would be right.
func (p Problem) String() string {
	return fmt.Sprintf("`%s:%d:%d`: %s", Path, p.Line, p.Column, p.Message)
}

// Problems is everything that is wrong in a file, in the file's order.
type Problems []Problem //nolint:errname // the word is what people read

// Error lists the problems, a line each.
func (p *Problems) Error() string {
	lines := make([]string, 0, len(*p))
	for i, problem := range *p {
		if i == maxProblems {
			lines = append(lines, fmt.Sprintf("and %d more", len(*p)-i))
			break
		}
		lines = append(lines, problem.String())
	}
	return strings.Join(lines, "\n")
}

// Parse reads and validates a configuration file. Its error is *Problems with everything that is
// wrong, and then the Config is of no use.
func Parse(data []byte) (Config, error) {
	document, problem := read(data)
	if problem != nil {
		return Config{}, &Problems{*problem}
	}
	d := decoder{places: map[string]place{}, order: map[string][]string{}}
	file := d.file(document)
	// What is decoded is validated even after a problem, so that people see all problems at once.
	config := validate(file, &d)
	if len(d.problems) > 0 {
		inOrder(d.problems)
		return Config{}, &d.problems
	}
	return config, nil
}

// read makes the file's one YAML document a tree, without resolving anything in it.
func read(data []byte) (*yaml.Node, *Problem) {
	if len(data) > maxFile {
		return nil, &Problem{1, 1, fmt.Sprintf("the file has %d bytes. At most %d are read.", len(data), maxFile)}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, &Problem{1, 1, "the file is empty. Begin it with `version: 1`, or delete it to get plans and advice only."}
	case err != nil:
		return nil, syntaxProblem(err)
	}
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
		return document.Content[0], nil
	case err != nil:
		return nil, syntaxProblem(err)
	default:
		return nil, &Problem{second.Line, second.Column, "a second document begins here. Remove the line `---`: the file holds one."}
	}
}

// yamlLine finds the line in an error of the YAML library, which gives it only as text.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s)(.*)$`)

func syntaxProblem(err error) *Problem {
	line, message := 1, err.Error()
	if parts := yamlLine.FindStringSubmatch(message); parts != nil {
		message = parts[2]
		if n, err := strconv.Atoi(parts[1]); err == nil {
			line = n
		}
	}
	return &Problem{line, 1, fmt.Sprintf("this is not YAML: %s. The mistake may be in the line before.", shorten(message))}
}

// quote shows the file's own words: nothing in them can be taken for ours.
func quote(text string) string { return strconv.Quote(shorten(text)) }

func shorten(text string) string {
	runes := []rune(text)
	if len(runes) <= maxShown {
		return text
	}
	return string(runes[:maxShown-1]) + "…"
}
