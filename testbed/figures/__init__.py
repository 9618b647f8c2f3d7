"""The paper's Fig. 1 and Fig. 2, and where what it reads from them is true."""
