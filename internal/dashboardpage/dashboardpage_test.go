package dashboardpage

import (
	"strings"
	"testing"
	"testing/fstest"
)

func folder(style, script string) fstest.MapFS {
	return fstest.MapFS{
		"index.html": {Data: []byte("<!-- a comment -->\n<html>\n  " + styleReference + "\n  " + scriptReference + "\n</html>\n")},
		"style.css":  {Data: []byte(style)},
		"script.js":  {Data: []byte(script)},
	}
}

func TestBuildLeavesOutCommentsAndSpaces(t *testing.T) {
	tests := []struct{ name, style, script, want string }{
		{"style", "/* a\n b */\na b, c { color: red; margin: 0 1px; }\n", "f()\n",
			"<html><style>\na b,c{color:red;margin:0 1px}</style><script>\nf()\n</script></html>\n"},
		{"script", "", "// a comment, it's one\nconst a = 'b  // c', d = 1; // it's one too\nif (a) {\n  f(a + 1 - -1);\n}\n",
			"<html><style>\n</style><script>\nconst a='b  // c',d=1;if(a){f(a+1- -1);}\n</script></html>\n"},
		{"quotes in a string", "", "f('a \\' = b', \"c ' = d\")\n",
			"<html><style>\n</style><script>\nf('a \\' = b',\"c ' = d\")\n</script></html>\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			page, err := Build(folder(tt.style, tt.script))
			if err != nil {
				t.Fatal(err)
			}
			if page.HTML != tt.want {
				t.Errorf("got  %q\nwant %q", page.HTML, tt.want)
			}
		})
	}
}

func TestBuildRefusesWhatTheConstantCannotHold(t *testing.T) {
	tests := []struct{ name, style, script, want string }{
		{"a backquote", "", "f(`a`)", "backquote"},
		{"the end of the script", "", "f('</script>')", "end tags"},
		{"the end of the style", "a::after { content: '</STYLE>' }", "", "end tags"},
		{"a comment of HTML", "", "f('<!--')", "<!--"},
		{"too much", "", "f('" + strings.Repeat("a", MaxBytes) + "')", "at most"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Build(folder(tt.style, tt.script)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}
