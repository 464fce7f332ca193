module github.com/modelroute/chatcompletion

go 1.20
