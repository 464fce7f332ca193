package browser

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Page is a tab with one page.
type Page struct {
	ctx   context.Context
	close context.CancelFunc

	mutex    sync.Mutex
	requests []string
	problems []string
	headers  map[string]string
}

// View is how a page is shown.
type View struct {
	Width, Height int64
	Dark          bool

	// Scale is the number of pixels of a CSS pixel. Default: 1.
	Scale float64

	// NoScrollbars hides them, as on a phone.
	NoScrollbars bool
}

// Open opens the address in a tab of its own, and returns once it has loaded. The caller must call
// Close.
func (b *Browser) Open(ctx context.Context, address string, view View) (*Page, error) {
	tab, leave := chromedp.NewContext(b.allocator)
	p := &Page{ctx: tab, close: leave, headers: map[string]string{}}
	_, err := bounded(ctx, func() (chromedp.Void, error) {
		if err := chromedp.Listen(tab, p.listen); err != nil {
			return chromedp.Void{}, err
		}
		return chromedp.Void{}, chromedp.Do(tab, enable, show(view), chromedp.Navigate(address))
	})
	if err != nil {
		leave()
		return nil, fmt.Errorf("open %s: %w", address, err)
	}
	return p, nil
}

// enable has the tab send the events that listen notes.
var enable = chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
	_, err := cdp.Call(ctx, tab, network.Enable, network.EnableParams{})
	_, logErr := cdp.Call(ctx, tab, log.Enable, cdp.Empty{})
	_, runtimeErr := cdp.Call(ctx, tab, runtime.Enable, cdp.Empty{})
	return errors.Join(err, logErr, runtimeErr)
})

// Close closes the tab.
func (p *Page) Close() { p.close() }

// Show changes how the page is shown.
func (p *Page) Show(ctx context.Context, view View) error {
	_, err := run(ctx, p, show(view))
	return err
}

func show(view View) chromedp.Action[chromedp.Void] {
	scheme := "light"
	if view.Dark {
		scheme = "dark"
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}
	size := chromedp.EmulateViewport(view.Width, view.Height, chromedp.EmulateScale(cmp.Or(view.Scale, 1)))
	return chromedp.Steps(size, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, media)
		_, barErr := cdp.Call(ctx, tab, emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: view.NoScrollbars})
		return errors.Join(err, barErr)
	}))
}

// run runs the action within ctx, and returns its value.
func run[T any](ctx context.Context, p *Page, action chromedp.Action[T]) (T, error) {
	return bounded(ctx, func() (T, error) { return chromedp.Run(p.ctx, action) })
}

// bounded waits for a call until ctx ends. The call itself ends with the tab.
func bounded[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := call()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// Evaluate stores the value of an expression, or of what it promises. Policies for the content of the
// page do not apply to it.
func (p *Page) Evaluate(ctx context.Context, expression string, value any) error {
	text, err := run(ctx, p, chromedp.Evaluate[string](
		"Promise.resolve("+expression+").then(value => JSON.stringify(value) ?? 'null')", chromedp.EvalAwaitPromise))
	if err != nil {
		return fmt.Errorf("%s: %w", expression, err)
	}
	return json.Unmarshal([]byte(text), value)
}

// Await waits until the expression is true.
func (p *Page) Await(ctx context.Context, expression string) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		var holds bool
		if err := p.Evaluate(ctx, "Boolean("+expression+")", &holds); err != nil || holds {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", expression, ctx.Err())
		}
	}
}

// Run runs a script, such as one that defines functions for Evaluate.
func (p *Page) Run(ctx context.Context, script string) error {
	_, err := run(ctx, p, chromedp.Evaluate[any](script+"\n;null"))
	if errors.Is(err, chromedp.ErrJSNull) {
		return nil
	}
	return err
}

// Press presses a key, such as kb.Tab or kb.Enter.
func (p *Page) Press(ctx context.Context, key string) error {
	_, err := run(ctx, p, chromedp.KeyEvent(key))
	return err
}

// Screenshot returns a picture of what is shown, as PNG.
func (p *Page) Screenshot(ctx context.Context) ([]byte, error) {
	return run(ctx, p, chromedp.CaptureScreenshot())
}

// listen notes what the page does.
func (p *Page) listen(event any) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, event.Request.URL)
	case *network.EventResponseReceived:
		if event.Type == network.ResourceTypeDocument {
			for name, value := range event.Response.Headers {
				p.headers[name] = fmt.Sprint(value)
			}
		}
	case *network.EventWebSocketCreated:
		p.requests = append(p.requests, event.URL)
	case *log.EventEntryAdded:
		if event.Entry.Level == log.EntryLevelError || event.Entry.Level == log.EntryLevelWarning {
			p.problems = append(p.problems, fmt.Sprintf("%s: %s %s", event.Entry.Level, event.Entry.Text, event.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		text := event.ExceptionDetails.Text
		if thrown := event.ExceptionDetails.Exception; thrown != nil {
			text += " " + thrown.Description
		}
		p.problems = append(p.problems, text)
	case *runtime.EventConsoleAPICalled:
		if event.Type == runtime.ConsoleAPICalledTypeError || event.Type == runtime.ConsoleAPICalledTypeWarning || event.Type == runtime.ConsoleAPICalledTypeAssert {
			text := string(event.Type)
			for _, argument := range event.Args {
				text += " " + string(argument.Value) + argument.Description
			}
			p.problems = append(p.problems, text)
		}
	case *page.EventJavascriptDialogOpening:
		p.problems = append(p.problems, "dialog: "+event.Message)
	}
}

// Requests returns the addresses of all requests of the page so far.
func (p *Page) Requests() []string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return append([]string(nil), p.requests...)
}

// Problems returns the errors and warnings that the console has, and dialogs that have opened.
func (p *Page) Problems() []string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return append([]string(nil), p.problems...)
}

// Header returns a header of the document, whose name is in lower case if it came by HTTP/2.
func (p *Page) Header(name string) string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.headers[name]
}
