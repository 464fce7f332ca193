package chatcompletion

import (
	"net/http"
	"net/url"
	"strings"
)

// addressProvider decides which path the provider is asked for, and puts the provider's key in the place of the client's.
func addressProvider(p *policy, ep *endpoint, pl *plan, req *http.Request) *apiError {
	if p.isRebased || p.path != "" || ep.kind == governedPassthrough {
		path, apiErr := providerPath(p, ep, req)
		if apiErr != nil {
			return apiErr
		}
		pl.path = path
	}
	return authorize(p, req)
}

// providerPath returns the path, escaped, that the provider is asked for; "" for the client's own.
func providerPath(p *policy, ep *endpoint, req *http.Request) (string, *apiError) {
	switch {
	case p.pathTemplate != nil:
		return render(p.pathTemplate, req)
	case p.path != "":
		return p.path, nil
	case p.isRebased && ep.path != "":
		return p.preset.basePath + ep.path, nil
	}
	path := ""
	if ep.kind == governedPassthrough {
		path = canonicalPath(req.URL.Path)
	}
	if !p.isRebased {
		return path, nil
	}
	if path == "" {
		path = req.URL.EscapedPath()
	}
	return joinBase(p.preset.basePath, path), nil
}

// canonicalPath returns what a path has been looked up as, escaped, which no server takes for another; "" if it is that itself.
func canonicalPath(path string) string {
	normal := normalizePath(path)
	if isCanonical(path, normal) {
		return ""
	}
	return (&url.URL{Path: normal}).EscapedPath()
}

// joinBase returns the provider's path for one of OpenAI's: what stands behind the version goes behind the base. Other
// paths are the provider's own.
func joinBase(base, escapedPath string) string {
	at := strings.Index(strings.ToLower(escapedPath), versionSegment)
	if at < 0 {
		return escapedPath
	}
	return base + escapedPath[at+len(versionSegment)-1:]
}
