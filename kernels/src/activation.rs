                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
!                wide(|| {
    
                });
                 wide(|| {
    
                });
S                wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
G                wide(|| {
    
                });
L                wide(|| {
    
                });
U                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
X                wide(|| {
    
                });
i                wide(|| {
    
                });
v                wide(|| {
    
                });
                 wide(|| {
    
                });
2                wide(|| {
    
                });
0                wide(|| {
    
                });
0                wide(|| {
    
                });
2                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
5                wide(|| {
    
                });
2                wide(|| {
    
                });
0                wide(|| {
    
                });
2                wide(|| {
    
                });
)                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
`                wide(|| {
    
                });
s                wide(|| {
    
                });
i                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
`                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
d                wide(|| {
    
                });
.                wide(|| {
    
                });

                wide(|| {
    
                });

                wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
d                wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
{                wide(|| {
    
                });
D                wide(|| {
    
                });
e                wide(|| {
    
                });
v                wide(|| {
    
                });
i                wide(|| {
    
                });
c                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
}                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
a                wide(|| {
    
                });
y                wide(|| {
    
                });
o                wide(|| {
    
                });
n                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
p                wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
d                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
*                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });

                wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
r                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
l                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
{                wide(|| {
    
                });
R                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
l                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
y                wide(|| {
    
                });
_                wide(|| {
    
                });
d                wide(|| {
    
                });
t                wide(|| {
    
                });
y                wide(|| {
    
                });
p                wide(|| {
    
                });
e                wide(|| {
    
                });
}                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
r                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
s                wide(|| {
    
                });
i                wide(|| {
    
                });
m                wide(|| {
    
                });
d                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
d                wide(|| {
    
                });
e                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
r                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
v                wide(|| {
    
                });
i                wide(|| {
    
                });
e                wide(|| {
    
                });
w                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
{                wide(|| {
    
                });
i                wide(|| {
    
                });
s                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
p                wide(|| {
    
                });
u                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
o                wide(|| {
    
                });
_                wide(|| {
    
                });
k                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
n                wide(|| {
    
                });
e                wide(|| {
    
                });
l                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
r                wide(|| {
    
                });
i                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
}                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
r                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
{                wide(|| {
    
                });
E                wide(|| {
    
                });
r                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
R                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
t                wide(|| {
    
                });
}                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });

                wide(|| {
    
                });
c                wide(|| {
    
                });
o                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
i                wide(|| {
    
                });
z                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
8                wide(|| {
    
                });
1                wide(|| {
    
                });
9                wide(|| {
    
                });
2                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
`                wide(|| {
    
                });
e                wide(|| {
    
                });
^                wide(|| {
    
                });
x                wide(|| {
    
                });
`                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
2                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
p                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
m                wide(|| {
    
                });
                 wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
i                wide(|| {
    
                });
s                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
x                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
2                wide(|| {
    
                });
                 wide(|| {
    
                });
+                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
o                wide(|| {
    
                });
l                wide(|| {
    
                });
y                wide(|| {
    
                });
n                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
i                wide(|| {
    
                });
a                wide(|| {
    
                });
l                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
2                wide(|| {
    
                });
^                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
                 wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
e                wide(|| {
    
                });
x                wide(|| {
    
                });
p                wide(|| {
    
                });
o                wide(|| {
    
                });
n                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
i                wide(|| {
    
                });
t                wide(|| {
    
                });
s                wide(|| {
    
                });
.                wide(|| {
    
                });

                wide(|| {
    
                });
#                wide(|| {
    
                });
[                wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
l                wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
e                wide(|| {
    
                });
(                wide(|| {
    
                });
a                wide(|| {
    
                });
l                wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
y                wide(|| {
    
                });
s                wide(|| {
    
                });
)                wide(|| {
    
                });
]                wide(|| {
    
                });

                wide(|| {
    
                });
p                wide(|| {
    
                });
u                wide(|| {
    
                });
b                wide(|| {
    
                });
(                wide(|| {
    
                });
c                wide(|| {
    
                });
r                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
e                wide(|| {
    
                });
x                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
x                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
-                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
x                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
x                wide(|| {
    
                });
.                wide(|| {
    
                });
c                wide(|| {
    
                });
l                wide(|| {
    
                });
a                wide(|| {
    
                });
m                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
-                wide(|| {
    
                });
8                wide(|| {
    
                });
7                wide(|| {
    
                });
.                wide(|| {
    
                });
3                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
8                wide(|| {
    
                });
8                wide(|| {
    
                });
.                wide(|| {
    
                });
7                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
x                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
d                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
f                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
c                wide(|| {
    
                });
o                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
s                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
L                wide(|| {
    
                });
O                wide(|| {
    
                });
G                wide(|| {
    
                });
2                wide(|| {
    
                });
_                wide(|| {
    
                });
E                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
d                wide(|| {
    
                });
_                wide(|| {
    
                });
t                wide(|| {
    
                });
i                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
_                wide(|| {
    
                });
e                wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
.                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
_                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
d                wide(|| {
    
                });
(                wide(|| {
    
                });
-                wide(|| {
    
                });
0                wide(|| {
    
                });
.                wide(|| {
    
                });
6                wide(|| {
    
                });
9                wide(|| {
    
                });
3                wide(|| {
    
                });
_                wide(|| {
    
                });
1                wide(|| {
    
                });
4                wide(|| {
    
                });
5                wide(|| {
    
                });
_                wide(|| {
    
                });
7                wide(|| {
    
                });
5                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
x                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
.                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
_                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
d                wide(|| {
    
                });
(                wide(|| {
    
                });
-                wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
4                wide(|| {
    
                });
2                wide(|| {
    
                });
8                wide(|| {
    
                });
_                wide(|| {
    
                });
6                wide(|| {
    
                });
0                wide(|| {
    
                });
6                wide(|| {
    
                });
_                wide(|| {
    
                });
8                wide(|| {
    
                });
e                wide(|| {
    
                });
-                wide(|| {
    
                });
6                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
9                wide(|| {
    
                });
8                wide(|| {
    
                });
7                wide(|| {
    
                });
_                wide(|| {
    
                });
5                wide(|| {
    
                });
6                wide(|| {
    
                });
9                wide(|| {
    
                });
_                wide(|| {
    
                });
2                wide(|| {
    
                });
e                wide(|| {
    
                });
-                wide(|| {
    
                });
4                wide(|| {
    
                });
_                wide(|| {
    
                });
f                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
.                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
_                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
d                wide(|| {
    
                });
(                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
3                wide(|| {
    
                });
9                wide(|| {
    
                });
8                wide(|| {
    
                });
_                wide(|| {
    
                });
1                wide(|| {
    
                });
9                wide(|| {
    
                });
9                wide(|| {
    
                });
_                wide(|| {
    
                });
9                wide(|| {
    
                });
e                wide(|| {
    
                });
-                wide(|| {
    
                });
3                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
.                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
_                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
d                wide(|| {
    
                });
(                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
8                wide(|| {
    
                });
.                wide(|| {
    
                });
3                wide(|| {
    
                });
3                wide(|| {
    
                });
3                wide(|| {
    
                });
_                wide(|| {
    
                });
4                wide(|| {
    
                });
5                wide(|| {
    
                });
2                wide(|| {
    
                });
e                wide(|| {
    
                });
-                wide(|| {
    
                });
3                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
.                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
_                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
d                wide(|| {
    
                });
(                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
4                wide(|| {
    
                });
.                wide(|| {
    
                });
1                wide(|| {
    
                });
6                wide(|| {
    
                });
6                wide(|| {
    
                });
_                wide(|| {
    
                });
5                wide(|| {
    
                });
7                wide(|| {
    
                });
9                wide(|| {
    
                });
_                wide(|| {
    
                });
6                wide(|| {
    
                });
e                wide(|| {
    
                });
-                wide(|| {
    
                });
2                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
.                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
_                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
d                wide(|| {
    
                });
(                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
6                wide(|| {
    
                });
6                wide(|| {
    
                });
6                wide(|| {
    
                });
_                wide(|| {
    
                });
6                wide(|| {
    
                });
6                wide(|| {
    
                });
6                wide(|| {
    
                });
_                wide(|| {
    
                });
6                wide(|| {
    
                });
e                wide(|| {
    
                });
-                wide(|| {
    
                });
1                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
.                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
_                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
d                wide(|| {
    
                });
(                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
0                wide(|| {
    
                });
.                wide(|| {
    
                });
5                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
y                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
p                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
_                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
d                wide(|| {
    
                });
(                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
+                wide(|| {
    
                });
                 wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
i                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
[                wide(|| {
    
                });
-                wide(|| {
    
                });
1                wide(|| {
    
                });
2                wide(|| {
    
                });
6                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
1                wide(|| {
    
                });
2                wide(|| {
    
                });
8                wide(|| {
    
                });
]                wide(|| {
    
                });
;                wide(|| {
    
                });
                 wide(|| {
    
                });
t                wide(|| {
    
                });
w                wide(|| {
    
                });
o                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
k                wide(|| {
    
                });
e                wide(|| {
    
                });
e                wide(|| {
    
                });
p                wide(|| {
    
                });
                 wide(|| {
    
                });
2                wide(|| {
    
                });
^                wide(|| {
    
                });
1                wide(|| {
    
                });
2                wide(|| {
    
                });
8                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
g                wide(|| {
    
                });
e                wide(|| {
    
                });
.                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
h                wide(|| {
    
                });
a                wide(|| {
    
                });
l                wide(|| {
    
                });
f                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
>                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
1                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
|                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
f                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
_                wide(|| {
    
                });
b                wide(|| {
    
                });
i                wide(|| {
    
                });
t                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
+                wide(|| {
    
                });
                 wide(|| {
    
                });
1                wide(|| {
    
                });
2                wide(|| {
    
                });
7                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
<                wide(|| {
    
                });
<                wide(|| {
    
                });
                 wide(|| {
    
                });
2                wide(|| {
    
                });
3                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
y                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
(                wide(|| {
    
                });
h                wide(|| {
    
                });
a                wide(|| {
    
                });
l                wide(|| {
    
                });
f                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
(                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
                 wide(|| {
    
                });
-                wide(|| {
    
                });
                 wide(|| {
    
                });
h                wide(|| {
    
                });
a                wide(|| {
    
                });
l                wide(|| {
    
                });
f                wide(|| {
    
                });
)                wide(|| {
    
                });

                wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });

                wide(|| {
    
                });
f                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
(                wide(|| {
    
                });
o                wide(|| {
    
                });
p                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
'                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
i                wide(|| {
    
                });
c                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
-                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
R                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
t                wide(|| {
    
                });
<                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
f                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
.                wide(|| {
    
                });
d                wide(|| {
    
                });
i                wide(|| {
    
                });
m                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
!                wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
.                wide(|| {
    
                });
d                wide(|| {
    
                });
i                wide(|| {
    
                });
m                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
|                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
.                wide(|| {
    
                });
d                wide(|| {
    
                });
t                wide(|| {
    
                });
y                wide(|| {
    
                });
p                wide(|| {
    
                });
e                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
!                wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
.                wide(|| {
    
                });
d                wide(|| {
    
                });
t                wide(|| {
    
                });
y                wide(|| {
    
                });
p                wide(|| {
    
                });
e                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
u                wide(|| {
    
                });
r                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
E                wide(|| {
    
                });
r                wide(|| {
    
                });
r                wide(|| {
    
                });
(                wide(|| {
    
                });
E                wide(|| {
    
                });
r                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
S                wide(|| {
    
                });
h                wide(|| {
    
                });
a                wide(|| {
    
                });
p                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });
                 wide(|| {
    
                });
o                wide(|| {
    
                });
p                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
h                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
o                wide(|| {
    
                });
t                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
m                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
!                wide(|| {
    
                });
(                wide(|| {
    
                });
"                wide(|| {
    
                });
{                wide(|| {
    
                });
:                wide(|| {
    
                });
?                wide(|| {
    
                });
}                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
.                wide(|| {
    
                });
d                wide(|| {
    
                });
i                wide(|| {
    
                });
m                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
t                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
m                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
!                wide(|| {
    
                });
(                wide(|| {
    
                });
"                wide(|| {
    
                });
{                wide(|| {
    
                });
:                wide(|| {
    
                });
?                wide(|| {
    
                });
}                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
.                wide(|| {
    
                });
d                wide(|| {
    
                });
i                wide(|| {
    
                });
m                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
f                wide(|| {
    
                });
                 wide(|| {
    
                });
!                wide(|| {
    
                });
i                wide(|| {
    
                });
s                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
p                wide(|| {
    
                });
u                wide(|| {
    
                });
(                wide(|| {
    
                });
a                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
u                wide(|| {
    
                });
r                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
E                wide(|| {
    
                });
r                wide(|| {
    
                });
r                wide(|| {
    
                });
(                wide(|| {
    
                });
n                wide(|| {
    
                });
o                wide(|| {
    
                });
_                wide(|| {
    
                });
k                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
n                wide(|| {
    
                });
e                wide(|| {
    
                });
l                wide(|| {
    
                });
(                wide(|| {
    
                });
o                wide(|| {
    
                });
p                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
O                wide(|| {
    
                });
k                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });

                wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
`                wide(|| {
    
                });
s                wide(|| {
    
                });
i                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
`                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
o                wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
                 wide(|| {
    
                });
`                wide(|| {
    
                });
[                wide(|| {
    
                });
t                wide(|| {
    
                });
o                wide(|| {
    
                });
k                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
]                wide(|| {
    
                });
`                wide(|| {
    
                });
.                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
#                wide(|| {
    
                });
                 wide(|| {
    
                });
E                wide(|| {
    
                });
r                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
s                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
O                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
h                wide(|| {
    
                });
a                wide(|| {
    
                });
p                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
i                wide(|| {
    
                });
f                wide(|| {
    
                });
f                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
t                wide(|| {
    
                });
y                wide(|| {
    
                });
p                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
e                wide(|| {
    
                });
v                wide(|| {
    
                });
i                wide(|| {
    
                });
c                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
o                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
                 wide(|| {
    
                });
k                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
n                wide(|| {
    
                });
e                wide(|| {
    
                });
l                wide(|| {
    
                });
.                wide(|| {
    
                });

                wide(|| {
    
                });
p                wide(|| {
    
                });
u                wide(|| {
    
                });
b                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
g                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
-                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
R                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
t                wide(|| {
    
                });
<                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
o                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
s                wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
g                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
"                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
y                wide(|| {
    
                });
_                wide(|| {
    
                });
d                wide(|| {
    
                });
t                wide(|| {
    
                });
y                wide(|| {
    
                });
p                wide(|| {
    
                });
e                wide(|| {
    
                });
!                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
o                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
!                wide(|| {
    
                });
[                wide(|| {
    
                });
T                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
d                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
n                wide(|| {
    
                });
(                wide(|| {
    
                });
0                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
.                wide(|| {
    
                });
e                wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
m                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
o                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
t                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
]                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
<                wide(|| {
    
                });
T                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
_                wide(|| {
    
                });
>                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
|                wide(|| {
    
                });
g                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
<                wide(|| {
    
                });
T                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
_                wide(|| {
    
                });
>                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
|                wide(|| {
    
                });
u                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
o                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
_                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
u                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
(                wide(|| {
    
                });
|                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
o                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
d                wide(|| {
    
                });
e                wide(|| {
    
                });
(                wide(|| {
    
                });
|                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
o                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
o                wide(|| {
    
                });
.                wide(|| {
    
                });
i                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
.                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
o                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
d                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
n                wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
                 wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
                 wide(|| {
    
                });
+                wide(|| {
    
                });
                 wide(|| {
    
                });
e                wide(|| {
    
                });
x                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
-                wide(|| {
    
                });
g                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
.                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
?                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
O                wide(|| {
    
                });
k                wide(|| {
    
                });
(                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
f                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
_                wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
(                wide(|| {
    
                });
o                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
.                wide(|| {
    
                });
d                wide(|| {
    
                });
i                wide(|| {
    
                });
m                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
D                wide(|| {
    
                });
e                wide(|| {
    
                });
v                wide(|| {
    
                });
i                wide(|| {
    
                });
c                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
C                wide(|| {
    
                });
p                wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
)                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });

                wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
`                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
)                wide(|| {
    
                });
`                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
s                wide(|| {
    
                });
s                wide(|| {
    
                });
'                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
.                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
#                wide(|| {
    
                });
                 wide(|| {
    
                });
E                wide(|| {
    
                });
r                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
s                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
A                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
[                wide(|| {
    
                });
`                wide(|| {
    
                });
s                wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
g                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
`                wide(|| {
    
                });
]                wide(|| {
    
                });
.                wide(|| {
    
                });

                wide(|| {
    
                });
p                wide(|| {
    
                });
u                wide(|| {
    
                });
b                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
g                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
_                wide(|| {
    
                });
b                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
d                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
-                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
R                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
t                wide(|| {
    
                });
<                wide(|| {
    
                });
(                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
)                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
o                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
s                wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
g                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
_                wide(|| {
    
                });
b                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
d                wide(|| {
    
                });
"                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
y                wide(|| {
    
                });
_                wide(|| {
    
                });
d                wide(|| {
    
                });
t                wide(|| {
    
                });
y                wide(|| {
    
                });
p                wide(|| {
    
                });
e                wide(|| {
    
                });
!                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
.                wide(|| {
    
                });
e                wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
m                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
o                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
t                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
g                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
!                wide(|| {
    
                });
[                wide(|| {
    
                });
T                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
d                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
n                wide(|| {
    
                });
(                wide(|| {
    
                });
0                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
]                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
!                wide(|| {
    
                });
[                wide(|| {
    
                });
T                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
d                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
n                wide(|| {
    
                });
(                wide(|| {
    
                });
0                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
]                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
<                wide(|| {
    
                });
T                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
_                wide(|| {
    
                });
>                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
|                wide(|| {
    
                });
g                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
<                wide(|| {
    
                });
T                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
_                wide(|| {
    
                });
>                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
|                wide(|| {
    
                });
u                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
<                wide(|| {
    
                });
T                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
_                wide(|| {
    
                });
>                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
d                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
|                wide(|| {
    
                });
d                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
o                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
g                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
_                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
u                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
_                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
o                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
s                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
u                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
(                wide(|| {
    
                });
|                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
g                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
)                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
d                wide(|| {
    
                });
e                wide(|| {
    
                });
(                wide(|| {
    
                });
|                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
g                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
g                wide(|| {
    
                });
.                wide(|| {
    
                });
i                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
.                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
.                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
.                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
                 wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
                 wide(|| {
    
                });
+                wide(|| {
    
                });
                 wide(|| {
    
                });
e                wide(|| {
    
                });
x                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
-                wide(|| {
    
                });
g                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
d                wide(|| {
    
                });
g                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
d                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
n                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
                 wide(|| {
    
                });
+                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
                 wide(|| {
    
                });
-                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
d                wide(|| {
    
                });
u                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
d                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
n                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
?                wide(|| {
    
                });
?                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
O                wide(|| {
    
                });
k                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
f                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
_                wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
g                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
.                wide(|| {
    
                });
d                wide(|| {
    
                });
i                wide(|| {
    
                });
m                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
D                wide(|| {
    
                });
e                wide(|| {
    
                });
v                wide(|| {
    
                });
i                wide(|| {
    
                });
c                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
C                wide(|| {
    
                });
p                wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
f                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
_                wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
u                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
.                wide(|| {
    
                });
d                wide(|| {
    
                });
i                wide(|| {
    
                });
m                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
D                wide(|| {
    
                });
e                wide(|| {
    
                });
v                wide(|| {
    
                });
i                wide(|| {
    
                });
c                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
C                wide(|| {
    
                });
p                wide(|| {
    
                });
u                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });

                wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
a                wide(|| {
    
                });
m                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
p                wide(|| {
    
                });
l                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
                 wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
o                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
u                wide(|| {
    
                });
r                wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
o                wide(|| {
    
                });
f                wide(|| {
    
                });
                 wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
i                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
d                wide(|| {
    
                });
t                wide(|| {
    
                });
h                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
e                wide(|| {
    
                });
e                wide(|| {
    
                });
d                wide(|| {
    
                });
e                wide(|| {
    
                });
d                wide(|| {
    
                });
.                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
t                wide(|| {
    
                });
w                wide(|| {
    
                });
o                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
n                wide(|| {
    
                });
o                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
h                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
a                wide(|| {
    
                });
g                wide(|| {
    
                });
e                wide(|| {
    
                });
.                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
#                wide(|| {
    
                });
                 wide(|| {
    
                });
E                wide(|| {
    
                });
r                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
s                wide(|| {
    
                });

                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
A                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
[                wide(|| {
    
                });
`                wide(|| {
    
                });
s                wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
g                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
`                wide(|| {
    
                });
]                wide(|| {
    
                });
.                wide(|| {
    
                });

                wide(|| {
    
                });
p                wide(|| {
    
                });
u                wide(|| {
    
                });
b                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
g                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
_                wide(|| {
    
                });
b                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
d                wide(|| {
    
                });
_                wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
p                wide(|| {
    
                });
l                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
e                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
T                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
-                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
R                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
u                wide(|| {
    
                });
l                wide(|| {
    
                });
t                wide(|| {
    
                });
<                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
o                wide(|| {
    
                });
n                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
:                wide(|| {
    
                });
                 wide(|| {
    
                });
&                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
s                wide(|| {
    
                });
w                wide(|| {
    
                });
i                wide(|| {
    
                });
g                wide(|| {
    
                });
l                wide(|| {
    
                });
u                wide(|| {
    
                });
_                wide(|| {
    
                });
b                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
d                wide(|| {
    
                });
_                wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
p                wide(|| {
    
                });
l                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
e                wide(|| {
    
                });
"                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
c                wide(|| {
    
                });
k                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
b                wide(|| {
    
                });
y                wide(|| {
    
                });
_                wide(|| {
    
                });
d                wide(|| {
    
                });
t                wide(|| {
    
                });
y                wide(|| {
    
                });
p                wide(|| {
    
                });
e                wide(|| {
    
                });
!                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
>                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
d                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
<                wide(|| {
    
                });
T                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
_                wide(|| {
    
                });
>                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
d                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
t                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
|                wide(|| {
    
                });
d                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
r                wide(|| {
    
                });
i                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
<                wide(|| {
    
                });
T                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
_                wide(|| {
    
                });
>                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
|                wide(|| {
    
                });
g                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
r                wide(|| {
    
                });
i                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
<                wide(|| {
    
                });
T                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
_                wide(|| {
    
                });
>                wide(|| {
    
                });
(                wide(|| {
    
                });
O                wide(|| {
    
                });
P                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
"                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
|                wide(|| {
    
                });
u                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
_                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
u                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
_                wide(|| {
    
                });
m                wide(|| {
    
                });
u                wide(|| {
    
                });
t                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
z                wide(|| {
    
                });
i                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
.                wide(|| {
    
                });
p                wide(|| {
    
                });
a                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
u                wide(|| {
    
                });
n                wide(|| {
    
                });
k                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
C                wide(|| {
    
                });
H                wide(|| {
    
                });
U                wide(|| {
    
                });
N                wide(|| {
    
                });
K                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
_                wide(|| {
    
                });
e                wide(|| {
    
                });
a                wide(|| {
    
                });
c                wide(|| {
    
                });
h                wide(|| {
    
                });
(                wide(|| {
    
                });
|                wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
s                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
)                wide(|| {
    
                });
|                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
0                wide(|| {
    
                });
.                wide(|| {
    
                });
.                wide(|| {
    
                });
g                wide(|| {
    
                });
s                wide(|| {
    
                });
.                wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
n                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
g                wide(|| {
    
                });
s                wide(|| {
    
                });
[                wide(|| {
    
                });
i                wide(|| {
    
                });
]                wide(|| {
    
                });
.                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
[                wide(|| {
    
                });
i                wide(|| {
    
                });
]                wide(|| {
    
                });
.                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
d                wide(|| {
    
                });
[                wide(|| {
    
                });
i                wide(|| {
    
                });
]                wide(|| {
    
                });
.                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
                 wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
                 wide(|| {
    
                });
+                wide(|| {
    
                });
                 wide(|| {
    
                });
e                wide(|| {
    
                });
x                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
-                wide(|| {
    
                });
g                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
s                wide(|| {
    
                });
[                wide(|| {
    
                });
i                wide(|| {
    
                });
]                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
d                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
n                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
                 wide(|| {
    
                });
+                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
1                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
                 wide(|| {
    
                });
-                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
[                wide(|| {
    
                });
i                wide(|| {
    
                });
]                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
T                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
d                wide(|| {
    
                });
o                wide(|| {
    
                });
w                wide(|| {
    
                });
n                wide(|| {
    
                });
(                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
g                wide(|| {
    
                });
                 wide(|| {
    
                });
*                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
?                wide(|| {
    
                });
?                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });
)                wide(|| {
    
                });

                wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });

                wide(|| {
    
                });
#                wide(|| {
    
                });
[                wide(|| {
    
                });
c                wide(|| {
    
                });
f                wide(|| {
    
                });
g                wide(|| {
    
                });
(                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
)                wide(|| {
    
                });
]                wide(|| {
    
                });

                wide(|| {
    
                });
m                wide(|| {
    
                });
o                wide(|| {
    
                });
d                wide(|| {
    
                });
                 wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
u                wide(|| {
    
                });
s                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
s                wide(|| {
    
                });
u                wide(|| {
    
                });
p                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
e                wide(|| {
    
                });
x                wide(|| {
    
                });
p                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
#                wide(|| {
    
                });
[                wide(|| {
    
                });
t                wide(|| {
    
                });
e                wide(|| {
    
                });
s                wide(|| {
    
                });
t                wide(|| {
    
                });
]                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
e                wide(|| {
    
                });
x                wide(|| {
    
                });
p                wide(|| {
    
                });
_                wide(|| {
    
                });
i                wide(|| {
    
                });
s                wide(|| {
    
                });
_                wide(|| {
    
                });
c                wide(|| {
    
                });
l                wide(|| {
    
                });
o                wide(|| {
    
                });
s                wide(|| {
    
                });
e                wide(|| {
    
                });
_                wide(|| {
    
                });
e                wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
y                wide(|| {
    
                });
w                wide(|| {
    
                });
h                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
o                wide(|| {
    
                });
r                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
n                wide(|| {
    
                });
                 wide(|| {
    
                });
-                wide(|| {
    
                });
8                wide(|| {
    
                });
7                wide(|| {
    
                });
0                wide(|| {
    
                });
0                wide(|| {
    
                });
.                wide(|| {
    
                });
.                wide(|| {
    
                });
8                wide(|| {
    
                });
8                wide(|| {
    
                });
0                wide(|| {
    
                });
0                wide(|| {
    
                });
                 wide(|| {
    
                });
{                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
x                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
i                wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
s                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
3                wide(|| {
    
                });
2                wide(|| {
    
                });
                 wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
1                wide(|| {
    
                });
0                wide(|| {
    
                });
0                wide(|| {
    
                });
.                wide(|| {
    
                });
0                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
f                wide(|| {
    
                });
6                wide(|| {
    
                });
4                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
f                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
(                wide(|| {
    
                });
x                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
e                wide(|| {
    
                });
x                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
l                wide(|| {
    
                });
e                wide(|| {
    
                });
t                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
l                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
i                wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
=                wide(|| {
    
                });
                 wide(|| {
    
                });
(                wide(|| {
    
                });
(                wide(|| {
    
                });
f                wide(|| {
    
                });
6                wide(|| {
    
                });
4                wide(|| {
    
                });
:                wide(|| {
    
                });
:                wide(|| {
    
                });
f                wide(|| {
    
                });
r                wide(|| {
    
                });
o                wide(|| {
    
                });
m                wide(|| {
    
                });
(                wide(|| {
    
                });
e                wide(|| {
    
                });
x                wide(|| {
    
                });
p                wide(|| {
    
                });
(                wide(|| {
    
                });
x                wide(|| {
    
                });
)                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
-                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
t                wide(|| {
    
                });
)                wide(|| {
    
                });
                 wide(|| {
    
                });
/                wide(|| {
    
                });
                 wide(|| {
    
                });
w                wide(|| {
    
                });
a                wide(|| {
    
                });
n                wide(|| {
    
                });
t                wide(|| {
    
                });
)                wide(|| {
    
                });
.                wide(|| {
    
                });
a                wide(|| {
    
                });
b                wide(|| {
    
                });
s                wide(|| {
    
                });
(                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
a                wide(|| {
    
                });
s                wide(|| {
    
                });
s                wide(|| {
    
                });
e                wide(|| {
    
                });
r                wide(|| {
    
                });
t                wide(|| {
    
                });
!                wide(|| {
    
                });
(                wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
l                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
i                wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
                 wide(|| {
    
                });
<                wide(|| {
    
                });
                 wide(|| {
    
                });
3                wide(|| {
    
                });
e                wide(|| {
    
                });
-                wide(|| {
    
                });
7                wide(|| {
    
                });
,                wide(|| {
    
                });
                 wide(|| {
    
                });
"                wide(|| {
    
                });
x                wide(|| {
    
                });
=                wide(|| {
    
                });
{                wide(|| {
    
                });
x                wide(|| {
    
                });
}                wide(|| {
    
                });
                 wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
l                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
i                wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
=                wide(|| {
    
                });
{                wide(|| {
    
                });
r                wide(|| {
    
                });
e                wide(|| {
    
                });
l                wide(|| {
    
                });
a                wide(|| {
    
                });
t                wide(|| {
    
                });
i                wide(|| {
    
                });
v                wide(|| {
    
                });
e                wide(|| {
    
                });
}                wide(|| {
    
                });
"                wide(|| {
    
                });
)                wide(|| {
    
                });
;                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
                 wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });
}                wide(|| {
    
                });

                wide(|| {
    
                });
