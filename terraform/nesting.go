package terraform

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// nestedTooDeeply reports whether parsing data could exhaust the stack, which no program survives: the parser of HCL
// recurses for each bracket, each unary operator and each condition. The lexer does not.
func nestedTooDeeply(data []byte) bool {
	tokens, _ := hclsyntax.LexConfig(data, "", hcl.InitialPos)
	depth := nesting{levels: []level{{lines: true}}}
	for _, token := range tokens {
		if depth.read(token.Type) > maxNesting {
			return true
		}
	}
	return false
}

// level is what was read since one bracket was opened.
type level struct {
	lines     bool // a newline ends an expression here
	operators int  // conditions and unary operators of the expression that is being read
}

// nesting sums up how deep the parser would be.
type nesting struct {
	levels    []level
	operators int // of all levels
}

// read takes the next token and gives the depth after it.
func (n *nesting) read(token hclsyntax.TokenType) int {
	top := len(n.levels) - 1
	switch token {
	case hclsyntax.TokenOBrace:
		n.levels = append(n.levels, level{lines: true})
	case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl,
		hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
		n.levels = append(n.levels, level{})
	case hclsyntax.TokenCBrace, hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenTemplateSeqEnd,
		hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
		if top > 0 {
			n.operators -= n.levels[top].operators
			n.levels = n.levels[:top]
		}
	case hclsyntax.TokenQuestion, hclsyntax.TokenBang, hclsyntax.TokenMinus:
		n.levels[top].operators++
		n.operators++
	case hclsyntax.TokenComma:
		n.expressionEnds(top)
	case hclsyntax.TokenNewline:
		if n.levels[top].lines {
			n.expressionEnds(top)
		}
	default: // the others do not nest
	}
	return len(n.levels) - 1 + n.operators
}

// expressionEnds forgets the operators of a level.
func (n *nesting) expressionEnds(top int) {
	n.operators -= n.levels[top].operators
	n.levels[top].operators = 0
}
