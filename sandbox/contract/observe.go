package contract

import (
	"context"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// Observe checks one exchange of the stand-in. It goes into sandbox.Options.
func (c *Contract) Observe(exchange sandbox.Exchange) {
	if exchange.Event != "" {
		c.CheckWebhook(exchange.RequestHeader, exchange.RequestBody)
		return
	}
	address := exchange.Path
	if exchange.Query != "" {
		address += "?" + exchange.Query
	}
	c.CheckCall(context.Background(), Call{
		Method: exchange.Method, URL: address,
		RequestHeader: exchange.RequestHeader, RequestBody: exchange.RequestBody,
		Status: exchange.Status, ResponseHeader: exchange.ResponseHeader, ResponseBody: exchange.ResponseBody,
		Fault: exchange.Fault,
	})
}
