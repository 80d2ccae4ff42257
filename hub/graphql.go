package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// mutate makes one GraphQL call whose answer is not needed.
func (h *Hub) mutate(ctx context.Context, installation int64, query string, variables map[string]any, r request) error {
	return h.graph(ctx, installation, query, variables, nil, r)
}

// graph makes one GraphQL call and decodes its data, unless that is nil. GraphQL says most refusals in the body of
// a 200. See https://docs.github.com/en/graphql/guides/forming-calls-with-graphql and, for the types,
// https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api.
func (h *Hub) graph(ctx context.Context, installation int64, query string, variables map[string]any, data any, r request) error {
	var got struct {
		Data   json.RawMessage `json:"data"`
		Errors []struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	r.method, r.route, r.out = http.MethodPost, graphQLRoute, &got
	r.body = map[string]any{"query": query, "variables": variables}
	if _, err := h.call(ctx, installation, r); err != nil {
		return err
	}
	if len(got.Errors) == 0 && data == nil {
		return nil
	}
	if len(got.Errors) == 0 {
		if err := json.Unmarshal(got.Data, data); err != nil {
			return fmt.Errorf("%s %s: read the answer: %w", r.do, r.thing, err)
		}
		return nil
	}
	c, err := h.client(installation)
	if err != nil {
		return err
	}
	a := answer{header: http.Header{}, message: harmless(got.Errors[0].Message)}
	switch kind := got.Errors[0].Type; {
	case strings.Contains(a.message, "secondary rate limit"):
		a.status = http.StatusTooManyRequests
	case kind == "NOT_FOUND":
		a.status = http.StatusNotFound
	case kind == "FORBIDDEN", kind == "INSUFFICIENT_SCOPES":
		a.status = http.StatusForbidden
	case kind == "UNPROCESSABLE":
		a.status = http.StatusUnprocessableEntity
	case kind == "RATE_LIMITED", kind == "RATE_LIMIT":
		if err := c.blocked(h.clock.Now(), graphQL); err != nil { // the answer's headers said until when
			return err
		}
		a.status = http.StatusTooManyRequests
	default:
		return errors.New(strings.TrimSpace(r.do + " " + r.thing + ": GraphQL: " + a.message))
	}
	return h.refusal(c, r, a)
}
