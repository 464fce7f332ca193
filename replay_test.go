package chatcompletion_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/modelroute/chatcompletion"
	"github.com/modelroute/chatcompletion/internal/replay"
)

func TestCasesWithCompiledHandler(t *testing.T) {
	replay.InProcess(t, replay.Load(t, "testdata/cases"), func(config map[string]any, next http.Handler) (http.Handler, error) {
		c, err := decodeConfig(config)
		if err != nil {
			return nil, err
		}
		return chatcompletion.New(context.Background(), next, c, "chat-completion@file")
	})
}
