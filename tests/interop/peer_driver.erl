%% Evaluates Erlang expressions for a test program that started this node.
%%
%% Requests and answers are external terms behind a 4-byte length, on the pipes that are file descriptors 3 and 4 here
%% (standard output belongs to whatever else the node prints). Expressions run in one process, registered as
%% peer_driver: what is sent to it waits in its mailbox for an expression that receives it. Variables keep their values
%% over requests; Args is bound to the arguments of the request. The node ends when the pipe of requests is closed.
%%
%%   request  {term | text, Expression :: binary(), Args :: list()}
%%   answer   {ok, Value}, Value as it is or as the text of ~0tp; {error, Text}
-module(peer_driver).
-export([run/0, text/1, parse/1]).

run() ->
    register(?MODULE, self()),
    Port = open_port({fd, 3, 4}, [binary, eof, {packet, 4}]),
    answer(Port, {ok, list_to_integer(erlang:system_info(otp_release))}),
    loop(Port, erl_eval:new_bindings()).

loop(Port, Bindings) ->
    receive
        {Port, {data, Request}} ->
            {Answer, After} = evaluate(Request, Bindings),
            answer(Port, Answer),
            loop(Port, After);
        {Port, eof} ->
            halt(0, [{flush, false}])
    end.

answer(Port, Answer) ->
    port_command(Port, term_to_binary(Answer)).

evaluate(Request, Bindings) ->
    try
        {Mode, Expression, Args} = binary_to_term(Request),
        {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Expression) ++ "."),
        {ok, Parsed} = erl_parse:parse_exprs(Tokens),
        {value, Value, After} = erl_eval:exprs(Parsed, erl_eval:add_binding('Args', Args, Bindings)),
        case Mode of
            term -> {{ok, Value}, After};
            text -> {{ok, text(Value)}, After}
        end
    catch
        Class:Reason:Stack ->
            {{error, text({Class, Reason, lists:sublist(Stack, 5)})}, Bindings}
    end.

text(Term) ->
    unicode:characters_to_binary(io_lib:format("~0tp", [Term])).

%% Reads the text of a term, as file:consult/1 would.
parse(Text) ->
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text) ++ "."),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.
