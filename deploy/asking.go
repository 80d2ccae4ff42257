package deploy

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// asking asks GitHub each thing about people once, for the length of one attempt or one command: what is decided
// together rests on the same answers, and costs no call twice.
type asking struct {
	hub  *hub.Hub
	repo operation.Repository

	authors     map[int]hub.Authors
	reviews     map[int]reviewsAnswer
	permissions map[string]string
	pulls       map[string]int // of commits; 0: GitHub named none
}

type reviewsAnswer struct {
	reviews []hub.Review
	more    bool
}

func (d *Deploy) asking(repo operation.Repository) *asking {
	return &asking{
		hub: d.Hub, repo: repo, authors: map[int]hub.Authors{}, reviews: map[int]reviewsAnswer{}, permissions: map[string]string{},
		pulls: map[string]int{},
	}
}

// authorsOf is who wrote a pull request.
func (a *asking) authorsOf(ctx context.Context, number int) (hub.Authors, error) {
	if known, ok := a.authors[number]; ok {
		return known, nil
	}
	authors, err := a.hub.PullAuthors(ctx, a.repo, number)
	if err != nil {
		return authors, fmt.Errorf("ask who wrote #%d: %w", number, err)
	}
	a.authors[number] = authors
	return authors, nil
}

// reviewsOf are the reviews of a pull request; true where there are more than were read.
func (a *asking) reviewsOf(ctx context.Context, number int) ([]hub.Review, bool, error) {
	if known, ok := a.reviews[number]; ok {
		return known.reviews, known.more, nil
	}
	reviews, more, err := a.hub.Reviews(ctx, a.repo, number)
	if err != nil {
		return nil, false, fmt.Errorf("ask who reviewed #%d: %w", number, err)
	}
	a.reviews[number] = reviewsAnswer{reviews, more}
	return reviews, more, nil
}

// permissionOf is what a person may do in the repository.
func (a *asking) permissionOf(ctx context.Context, login string) (string, error) {
	if known, ok := a.permissions[login]; ok {
		return known, nil
	}
	permission, err := a.hub.Permission(ctx, a.repo, login)
	if err != nil {
		return "", fmt.Errorf("ask for the permission of %s: %w", login, err)
	}
	a.permissions[login] = permission
	return permission, nil
}
